// Through the network: all stages from left to right, the towers above each other; one stage's maps; one output's numbers.

import { chooseFirst, error, figures, get, go, h, has, here, isSaved, link, load, run, source } from "./core.js";
import { arithmeticOf } from "./arithmetic.js";
import { array, canvas, outline, part } from "./draw.js";
import { savedImages } from "./view_image.js";

let latest = 0; // of the panels: what an older one still waits for changes nothing any more
const COLUMNS = ["conv", "local", "norm", "spatial norm", "pool", "fc"];

export async function networkView(content, { image }) {
  if (!image) return chooseFirst();
  const about = run();
  const { stages } = await get("stages", { image, run: about.run });
  const byName = Object.fromEntries(stages.map((stage) => [stage.name, stage]));
  const query = here().query;
  const chosen = query.stage in byName ? query.stage : "conv1" in byName ? "conv1" : stages[0].name;
  content.append(h("p", {}, "Each stage takes what the stage before it made. ",
    about.towers === 2 ? "The two towers stand above each other, as in figure 2 of the paper: crossing lines are where they exchange what they made." : "This network has one tower."));
  if (isSaved) content.append(savedImages(image, (name) => link("/network", { ...query, image: name }).slice(1)));
  content.append(await strip(about, byName, image, chosen));
  const panel = h("section", { "aria-label": `Stage ${chosen}` });
  content.append(panel);
  panel.append(await stagePanel(about, byName, image, chosen));
}

const address = (more) => link("/network", { ...here().query, unit: null, y: null, x: null, ...more });

// The overview: image, then a column for each stage with its strongest maps, tower above tower.
async function strip(about, byName, image, chosen) {
  const items = [h("li", {}, h("div", { class: "start" }, h("img", { src: source("image.png", { image, run: about.run }), alt: "The image", width: 59, height: 59 }), h("span", {}, "image")))];
  let first = true;
  for (const layer of about.layers.filter((each) => COLUMNS.includes(each.kind))) {
    const stage = byName[layer.name];
    const drawn = canvas(2, 2, { "aria-hidden": "true" });
    load("maps.png", { image, run: about.run, stage: shownFor(about, layer, byName) }).then((whole) => strongest(drawn, byName[shownFor(about, layer, byName)], whole)).catch(() => {});
    const lines = about.towers === 2 && !first ? connection(layer, stage) : first ? connection(null) : null;
    first = false;
    items.push(h("li", {}, lines, h("button", {
      type: "button", "aria-pressed": String(layer.name === chosen), click: () => { go(address({ stage: layer.name }), true); pick(layer.name); } },
      drawn, h("span", {}, layer.name), h("span", { class: "faint" }, stage.shape.join("×")))));
  }
  const list = h("ol", {}, items);
  const pick = async (name) => {
    list.querySelectorAll("button").forEach((button) => button.setAttribute("aria-pressed", String(button.querySelector("span").textContent === name)));
    const making = stagePanel(about, byName, image, name).catch(error), number = latest;
    const made = await making;
    if (number !== latest) return;
    const panel = list.closest("div").nextElementSibling;
    panel.setAttribute("aria-label", `Stage ${name}`);
    panel.replaceChildren(made);
  };
  const box = h("div", { class: "strip", tabindex: 0, role: "region", "aria-label": "Stages" }, list);
  const watching = new ResizeObserver(() => { // once it is in the page: the chosen stage may be far to the right
    if (!box.isConnected) return;
    const [button, all] = [list.querySelector("[aria-pressed=true]"), box].map((each) => each?.getBoundingClientRect());
    if (button) box.scrollLeft += button.left + button.width / 2 - all.left - all.width / 2;
    watching.disconnect();
  });
  watching.observe(box);
  return box;
}

// The stage whose maps stand for a layer in the overview: after its nonlinearity, where that comes at once.
function shownFor(about, layer) {
  const at = about.layers.findIndex((each) => each.name === layer.name);
  const next = about.layers[at + 1];
  return ["conv", "fc", "local"].includes(layer.kind) && next?.kind === "activation" ? next.name : layer.name;
}

// Lines between two columns: straight within the towers, crossing where they exchange.
function connection(layer, stage) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 86");
  svg.setAttribute("aria-hidden", "true");
  const exchange = layer && layer.groups === 1 && ["conv", "fc", "norm"].includes(layer.kind);
  const paths = layer === null ? ["M0 43 L16 22", "M0 43 L16 64"] : stage.towers === 1 ? ["M0 22 L16 43", "M0 64 L16 43"] : ["M0 22 L16 22", "M0 64 L16 64", ...(exchange ? ["M0 22 L16 64", "M0 64 L16 22"] : [])];
  for (const d of paths) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  if (exchange) svg.setAttribute("class", "exchange");
  return svg;
}

// Four of the strongest maps of each tower; of units, all of them.
function strongest(drawn, stage, whole) {
  const flat = stage.shape.length === 1;
  const [tall, wide] = flat ? [whole.naturalHeight / stage.towers, whole.naturalWidth] : stage.shape.slice(1);
  const side = 60, gap = 12;
  drawn.width = 2 * side;
  drawn.height = stage.towers === 1 ? 2 * side : 4 * side + gap;
  const context = drawn.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (let tower = 0; tower < stage.towers; tower++) {
    const top = tower * (2 * side + gap);
    if (flat) context.drawImage(whole, 0, tower * tall, wide, tall, 0, top, 2 * side, 2 * side);
    else stage.strongest[tower].slice(0, 4).forEach((unit, i) => {
      const { left, top: above } = tile(stage, unit);
      context.drawImage(whole, left, above, wide, tall, (i % 2) * side, top + (i >> 1) * side, side - 2, side - 2);
    });
  }
}

// Where a map is in the image of all maps.
function tile(stage, unit) {
  const [tall, wide] = stage.shape.length === 1 ? [1, 1] : stage.shape.slice(1);
  const { tower, row, column, rows } = cellOf(stage, unit);
  return { left: column * wide, top: (tower * rows + row) * tall, wide, tall };
}

// The tower, row and column of a map among all maps of its stage.
function cellOf(stage, unit) {
  const perTower = stage.shape[0] / stage.towers, at = unit % perTower;
  return { tower: Math.floor(unit / perTower), row: Math.floor(at / stage.columns), column: at % stage.columns, rows: Math.ceil(perTower / stage.columns) };
}

// All maps as they are drawn: enlarged, with a gap between them and a wider one between the towers.
class AllMaps {
  constructor(stage, whole) {
    Object.assign(this, { stage, whole });
    const { wide, tall } = tile(stage, 0);
    this.zoom = Math.max(1, Math.round(900 / whole.naturalWidth));
    this.gap = stage.shape.length === 1 ? 0 : 3; // a line between thousands of units would be drawn unevenly
    this.across = wide * this.zoom + this.gap;
    this.down = tall * this.zoom + this.gap;
    this.rows = cellOf(stage, 0).rows;
    this.between = stage.towers === 1 ? 0 : 24;
    this.size = [stage.columns * this.across, stage.towers * this.rows * this.down + (stage.towers - 1) * this.between];
  }

  corner(unit) {
    const { tower, row, column } = cellOf(this.stage, unit);
    return [column * this.across, (tower * this.rows + row) * this.down + tower * this.between];
  }

  draw(context, chosen) {
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, ...this.size);
    const [width, height] = [this.across - this.gap, this.down - this.gap];
    for (let unit = 0; unit < this.stage.shape[0]; unit++) {
      const { left, top, wide, tall } = tile(this.stage, unit);
      context.drawImage(this.whole, left, top, wide, tall, ...this.corner(unit), width, height);
    }
    outline(context, ...this.corner(chosen), width, height, Math.max(3, width / 20));
  }

  // The map at a point of the canvas; null between the towers.
  at(x, y) {
    const perTower = this.stage.shape[0] / this.stage.towers, tall = this.rows * this.down + this.between;
    const tower = Math.min(this.stage.towers - 1, Math.floor(y / tall));
    const row = Math.floor((y - tower * tall) / this.down), column = Math.floor(x / this.across);
    const unit = row * this.stage.columns + column;
    return row < this.rows && column < this.stage.columns && unit < perTower ? tower * perTower + unit : null;
  }
}

// One stage: all maps, the chosen one enlarged, where it looks, and its arithmetic.
async function stagePanel(about, byName, image, name) {
  const number = ++latest, isLatest = () => number === latest && here().parts[0] === "network";
  const stage = byName[name], layer = about.layers.find((each) => each.name === name);
  const flat = stage.shape.length === 1;
  const query = here().query;
  const limits = { unit: stage.shape[0], y: flat ? 1 : stage.shape[1], x: flat ? 1 : stage.shape[2] };
  const at = { unit: stage.strongest[0][0], y: null, x: null };
  if (query.stage === name || (!query.stage && query.unit)) for (const key of Object.keys(at)) if (query[key] !== undefined && Number(query[key]) < limits[key]) at[key] = Number(query[key]);
  const whole = await load("maps.png", { image, run: about.run, stage: name });
  const photo = await load("image.png", { image, run: about.run });
  const maps = new AllMaps(stage, whole);
  const all = canvas(...maps.size, {
    class: "maps pixels", tabindex: 0, role: "application", "aria-label": `All ${limits.unit} ${flat ? "units" : "maps"} of ${name}. Arrow keys choose one.` });
  const figure = h("div", {}), numbers = h("div", { "aria-live": "polite" });
  const fields = Object.fromEntries(["unit", "y", "x"].map((key) => [key, h("input", { type: "number", id: `at-${key}`, min: 0, max: limits[key] - 1, step: 1, change: () => {
    const value = Math.round(Number(fields[key].value));
    if (value >= 0 && value < limits[key]) { at[key] = value; if (key === "unit") { at.y = at.x = null; } update(key); } } })]));
  let values = null;

  async function update(what = "unit") {
    if (!isLatest()) return;
    try {
      if (what === "unit") {
        const { unit } = at, asked = { image, run: about.run, stage: name, unit };
        maps.draw(all.getContext("2d"), unit);
        const got = has("map", asked) ? (await get("map", asked)).values : null;
        if (!isLatest() || unit !== at.unit) return;
        values = got;
        if (values && at.y === null) [at.y, at.x] = peak(values);
      }
      at.y ??= 0;
      at.x ??= 0;
      for (const key of Object.keys(fields)) fields[key].value = at[key];
      go(link("/network", { ...here().query, image, stage: name, unit: at.unit, y: flat ? null : at.y, x: flat ? null : at.x }), true);
      drawOne();
      const found = await get("arithmetic", { image, run: about.run, stage: name, unit: at.unit, y: at.y, x: at.x });
      if (found.unit !== at.unit || found.y !== at.y || found.x !== at.x) return;
      drawField(found.field);
      numbers.replaceChildren(...arithmeticOf(found, layer, about, (stage_, unit) => address({ stage: stage_, unit })));
    } catch (problem) {
      numbers.replaceChildren(error(problem));
    }
  }

  const enlarged = h("div", {}), field = h("div", {});
  function drawOne() {
    if (!values) { enlarged.replaceChildren(); return; }
    const small = array(values, stage.scale, stage.signed);
    const shown = canvas(280, Math.round((280 * values.length) / values[0].length), {
      class: "pixels one", tabindex: 0, role: "application", "aria-label": `${name}, ${flat ? "unit" : "map"} ${at.unit}. Arrow keys move to another row and column.` });
    const context = shown.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, shown.width, shown.height);
    const cell = shown.width / values[0].length;
    outline(context, at.x * cell + 1, at.y * cell + 1, Math.max(2, cell - 2), Math.max(2, cell - 2));
    const move = (y, x) => { at.y = Math.min(Math.max(y, 0), limits.y - 1); at.x = Math.min(Math.max(x, 0), limits.x - 1); update("at"); };
    shown.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      move(at.y + step[0], at.x + step[1]);
    });
    let moved = 0;
    const point = (event) => [Math.floor(((event.offsetY / shown.clientHeight) * values.length)), Math.floor((event.offsetX / shown.clientWidth) * values[0].length)];
    shown.addEventListener("click", (event) => move(...point(event)));
    shown.addEventListener("mousemove", (event) => {
      const [y, x] = point(event);
      if ((y === at.y && x === at.x) || !values[y] || values[y][x] === undefined) return;
      clearTimeout(moved);
      moved = setTimeout(() => move(y, x), 60);
    });
    const had = enlarged.contains(document.activeElement);
    enlarged.replaceChildren(h("figure", {}, shown, h("figcaption", {}, `${name}, ${flat ? "unit" : "map"} ${at.unit}: ${figures(values[at.y]?.[at.x])} here`)));
    if (had) shown.focus({ preventScroll: true });
  }

  function drawField([top, left, height, width]) {
    const shown = part(photo, 0, 0, about.size, about.size, 280, false, { role: "img", "aria-label": `The image, with the receptive field: rows ${top} to ${top + height - 1}, columns ${left} to ${left + width - 1}` });
    const scale = 280 / about.size;
    outline(shown.getContext("2d"), left * scale, top * scale, width * scale, height * scale);
    field.replaceChildren(h("figure", {}, shown, h("figcaption", {}, `It sees ${width} × ${height} pixels of the image.`)));
  }

  const chooseAt = (event) => {
    const scale = all.width / all.clientWidth, unit = maps.at(event.offsetX * scale, event.offsetY * scale);
    if (unit !== null) choose(unit);
  };
  const choose = (unit) => { at.unit = Math.min(Math.max(unit, 0), limits.unit - 1); at.y = at.x = null; update(); };
  all.addEventListener("click", chooseAt);
  all.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -stage.columns, ArrowDown: stage.columns }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(at.unit + step);
  });
  const facts = h("p", { class: "note" }, `${stage.shape.join(" × ")} outputs, from ${figures(stage.low)} to ${figures(stage.high)}; ${(100 * stage.zero).toFixed(1)} % are exactly 0. `,
    stage.signed ? "Red is positive, blue negative." : "Dark is 0, yellow the largest.");
  const select = h("select", { id: "stage", change: () => { go(address({ stage: select.value })); } },
    Object.keys(byName).filter((each) => has("maps.png", { image, run: about.run, stage: each })).map((each) => h("option", { selected: each === name }, each)));
  const unitLink = unitOf(about, layer);
  figure.append(h("div", { class: "row" },
    h("label", { for: "stage" }, "Stage"), select,
    ...["unit", ...(flat ? [] : ["y", "x"])].flatMap((key) => [h("label", { for: `at-${key}` }, { unit: flat ? "Unit" : "Map", y: "Row", x: "Column" }[key]), fields[key]])),
    facts);
  const box = h("div", {}, figure, h("div", { class: "stage" },
    h("figure", {}, all, h("figcaption", {}, `All ${flat ? "units" : "maps"}${stage.towers === 2 ? ": the first tower above, the second below" : ""}. Click one, or move with the arrow keys.`)),
    h("div", {}, h("div", { class: "tiles" }, enlarged, field), h("h2", {}, "The arithmetic of this output"), numbers,
    unitLink ? h("p", {}, h("a", { href: "#", click: (event) => { event.preventDefault(); go(link(`/unit/${unitLink}/${at.unit}`, { run: here().query.run, image })); } }, `What excites this unit of ${unitLink} in the whole store`)) : null)));
  await update();
  return box;
}

// The layer with weights whose unit a stage's map is.
export function unitOf(about, layer) {
  const at = about.layers.findIndex((each) => each.name === layer.name);
  return about.layers.slice(0, at + 1).reverse().find((each) => ["conv", "fc"].includes(each.kind))?.name;
}

// Row and column of the largest value.
function peak(values) {
  let best = [0, 0];
  values.forEach((row, y) => row.forEach((value, x) => { if (value > values[best[0]][best[1]]) best = [y, x]; }));
  return best;
}
