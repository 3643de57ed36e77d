// What all views share: answers of the server (or of a saved page), addresses, elements, numbers.

const saved = globalThis.SAVED ?? null;
export const isSaved = saved !== null;
export const site = { about: null };

// The address of an answer, "stages?image=val-0&run=0", its parts sorted, so that a saved page finds it.
export function routeOf(name, query = {}) {
  const parts = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  parts.sort(([a], [b]) => (a < b ? -1 : 1));
  const text = new URLSearchParams(parts.map(([key, value]) => [key, String(value)])).toString();
  return text ? `${name}?${text}` : name;
}

const answers = new Map();

// JSON of a route. Throws an Error whose message is a sentence.
export async function get(name, query = {}, fresh = false) {
  const route = routeOf(name, query);
  if (isSaved) {
    if (route in saved.answers) return saved.answers[route];
    throw new Error("This is not in the saved page; run alexnet explore to see it.");
  }
  if (!fresh && answers.has(route)) return answers.get(route);
  const waiting = ask(`/api/${route}`);
  if (!fresh) {
    answers.set(route, waiting);
    waiting.catch(() => answers.delete(route));
    if (answers.size > 60) answers.delete(answers.keys().next().value);
  }
  return waiting;
}

export const has = (name, query = {}) => !isSaved || routeOf(name, query) in saved.answers || routeOf(name, query) in saved.images;

async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer; is alexnet explore still running?");
  }
  let content;
  try {
    content = await response.json();
  } catch {
    throw new Error(`The server gave no answer (${response.status}).`);
  }
  if (!response.ok) throw new Error(content.error ?? `The server refused (${response.status}).`);
  return content;
}

// Sends the bytes of an image; its name in addresses.
export async function send(blob) {
  if (blob.size > site.about.limits.bytes) throw new Error(`An image may have ${site.about.limits.bytes / 1e6} MB; this one has more.`);
  return (await ask("/api/images", { method: "POST", body: blob })).image;
}

// Where an image of a route is, for <img>.
export function source(name, query = {}) {
  const route = routeOf(name, query);
  return isSaved ? (saved.images[route] ?? "") : `/api/${route}`;
}

const loadedImages = new Map();

// The loaded image of a route.
export function load(name, query = {}) {
  const address = source(name, query);
  if (!loadedImages.has(address)) {
    const image = new Image();
    const loaded = new Promise((done, fail) => {
      image.onload = () => done(image);
      image.onerror = () => fail(new Error("An image cannot be drawn."));
    });
    image.src = address;
    loadedImages.set(address, loaded);
    loaded.catch(() => loadedImages.delete(address));
    if (loadedImages.size > 120) loadedImages.delete(loadedImages.keys().next().value);
  }
  return loadedImages.get(address);
}

// Where we are: the path in parts, and the query. In a saved page both are behind the #.
export function here() {
  const text = isSaved ? location.hash.slice(1) || "/" : location.pathname + location.search;
  const [path, query = ""] = text.split("?");
  return { path, parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: Object.fromEntries(new URLSearchParams(query)) };
}

export const link = (path, query = {}) => (isSaved ? "#" : "") + routeOf(path, query);

let show = () => {};
export const onMove = (function_) => (show = function_);

// Goes to an address; with `quiet`, only the address changes, and the view goes on.
export function go(address, quiet = false) {
  if (isSaved) {
    if (quiet) history.replaceState(null, "", address);
    else location.hash = address.slice(1);
    return;
  }
  history[quiet ? "replaceState" : "pushState"](null, "", address);
  if (!quiet) show(true);
}

// An element: h("p", {class: "note"}, "text", element, ...). Functions are listeners.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "style") Object.assign(element.style, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const note = (...text) => h("p", { class: "note" }, ...text);
export const chooseFirst = () => note(h("a", { href: link("/", { run: here().query.run }) }, "Choose an image"), " first.");
export const error = (problem) => h("p", { class: "error", role: "alert" }, problem.message ?? String(problem));

// A table: heads, rows of cells (text, numbers or elements; the first is the row's heading).
export function table(caption, heads, rows, options = {}) {
  const line = (cells, attributes = {}) =>
    h("tr", attributes, cells.map((cell, i) => h(i ? "td" : "th", i ? {} : { scope: "row" }, cell ?? "")));
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": caption },
    h("table", options,
      h("caption", {}, caption),
      heads ? h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))) : null,
      h("tbody", {}, rows.map((row) => (Array.isArray(row) ? line(row) : line(row.cells, { class: row.class }))))));
}

// Numbers as the command line writes them: probabilities with one decimal of a per cent.
export const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
export const short = (name) => name.split(",")[0].trim();

// A number with four significant digits, never in exponents unless it must.
export function figures(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-5) return value.toExponential(digits - 1).replace("-", "−").replace("e−", "e−");
  const text = size >= 10 ** (digits - 1) ? value.toFixed(0) : value.toPrecision(digits);
  return text.replace("-", "−");
}

// Three significant figures, as `alexnet similar` prints distances.
export function threeFigures(value) {
  const decimals = value > 0 ? 2 - Math.floor(Math.log10(value)) : 2;
  return value.toFixed(Math.min(Math.max(decimals, 0), 9));
}

export const run = () => site.about.runs[Math.min(Number(here().query.run ?? 0) || 0, site.about.runs.length - 1)];

// The image of the address; without one, the first of the store, validation before training.
export function imageOf(query = here().query) {
  if (query.image) return query.image;
  if (isSaved) return saved.first;
  const splits = site.about.store?.splits ?? {};
  const first = "val" in splits ? "val" : Object.keys(splits)[0];
  return first ? `${first}-0` : null;
}

export const shared = (more = {}) => ({ run: here().query.run, image: here().query.image, ...more });
