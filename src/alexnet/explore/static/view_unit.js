// A unit: the images that excite it most, what feeds it, its distribution over the store, the classes it serves.

import { error, figures, get, go, h, has, here, isSaved, link, note, run, short, site, source, table } from "./core.js";
import { array, canvas, largest, plot, ticks } from "./draw.js";

export async function unitView(content, { parts }) {
  const about = run();
  const layers = about.layers.filter((layer) => ["conv", "local", "fc"].includes(layer.kind));
  const layer = layers.find((each) => each.name === parts[0]) ?? layers.find((each) => each.name === "conv3") ?? layers[0];
  const most = layer.shape[0];
  let unit = Number(parts[1] ?? 0);
  if (!(unit >= 0 && unit < most)) unit = 0;
  if (isSaved && !has("unit", { run: about.run, layer: layer.name, unit })) {
    const first = globalThis.SAVED.units[0];
    if (!first) throw new Error("The saved page holds no units.");
    location.hash = link(`/unit/${first[0]}/${first[1]}`).slice(1);
    return null;
  }
  const address = (name, number) => link(`/unit/${name}/${number}`, { run: here().query.run, image: here().query.image });
  const select = h("select", { id: "layer", change: () => go(address(select.value, 0)) },
    layers.map((each) => h("option", { selected: each === layer }, each.name)));
  const number = h("input", { type: "number", id: "unit", min: 0, max: most - 1, value: unit, change: () => go(address(layer.name, Math.min(Math.max(Math.round(number.value), 0), most - 1))) });
  const step = (by, label) => h("button", { type: "button", click: () => go(address(layer.name, (unit + by + most) % most)) }, label);
  content.append(h("p", {}, "A unit is excited by an image as much as its largest output, over all positions. Its nine strongest images show what it looks for."));
  content.append(isSaved ? savedUnits(address) : h("div", { class: "row" }, h("label", { for: "layer" }, "Layer"), select, h("label", { for: "unit" }, `Unit, 0 to ${most - 1}`), number, step(-1, "Previous"), step(1, "Next")));
  document.onkeydown = (event) => {
    if (isSaved || event.target.closest("input, select, canvas, textarea") || event.altKey || event.ctrlKey || event.metaKey || !content.isConnected || here().parts[0] !== "unit") return;
    if (event.key === "ArrowLeft") go(address(layer.name, (unit - 1 + most) % most));
    if (event.key === "ArrowRight") go(address(layer.name, (unit + 1) % most));
  };
  const found = await get("unit", { run: about.run, layer: layer.name, unit }, true);
  const tower = found.tower ? `, tower ${found.tower}` : "";
  const name = found.class ? `: ${short(found.class.name)}` : "";
  content.append(h("h2", {}, `${layer.name}, unit ${unit}${tower}${name}`));
  if (found.index && found.index.state !== "done") content.append(progress(found.index, content));
  if (!found.most) {
    content.append(site.about.store ? note("Nothing is known of its images yet.") : note("Start alexnet explore with --data STORE to see which images excite it."));
    return feeds(found, about, address);
  }
  return [
    h("section", { class: "columns" },
      h("div", {}, h("h3", {}, "What excites it most"), nine(found, about, layer)),
      h("div", {}, facts(found), distribution(found), classes(found))),
    feeds(found, about, address),
  ];
}

// How far the index is; the view is shown anew when there is more.
export function progress(index, content) {
  const bar = h("progress", { max: index.of, value: index.done, "aria-label": "Images indexed" });
  const said = h("span", {}, ` ${index.done.toLocaleString("en")} of ${index.of.toLocaleString("en")} images of '${index.split}' indexed`);
  const line = h("p", { class: "note", role: "status" }, bar, said);
  if (index.state === "failed") return error(index.error);
  const ask = async () => {
    if (!line.isConnected) return;
    try {
      const now = (await get("progress", { run: run().run }, true)).index;
      bar.value = now.done;
      said.textContent = ` ${now.done.toLocaleString("en")} of ${now.of.toLocaleString("en")} images of '${now.split}' indexed${now.error ? `. ${now.error}` : ""}`;
      if (now.state === "done") { dispatchEvent(new Event("popstate")); return; }
    } catch { /* the next answer will tell */ }
    setTimeout(ask, 2000);
  };
  setTimeout(ask, 1500);
  return line;
}

function savedUnits(address) {
  return h("ul", { class: "row plain", "aria-label": "Units of this page" }, globalThis.SAVED.units.map(([layer, unit]) => h("li", {}, h("a", { href: address(layer, unit) }, `${layer} ${unit}`))));
}

function nine(found, about, layer) {
  return h("ol", { class: "nine" }, found.most.map((each) => {
    const [top, left, height, width] = each.field;
    const patch = source("patch.png", { run: about.run, image: each.image, top, left, height, width });
    return h("li", {}, h("a", { href: link("/network", { image: each.image, run: here().query.run, stage: layer.name, unit: found.unit, y: layer.shape.length === 3 ? each.y : null, x: layer.shape.length === 3 ? each.x : null }) },
      h("img", { src: patch, alt: `Part of ${each.key}`, width, height, class: width < 60 ? "pixels" : null }), `${figures(each.value)} ${short(each.name)}`));
  }));
}

function facts(found) {
  const percent = (100 * found.active).toFixed(1);
  return h("dl", { class: "facts" },
    h("dt", {}, "State"), h("dd", {}, found.dead ? h("span", { class: "warn" }, "dead: no image takes it above 0") : "alive"),
    h("dt", {}, "Above 0"), h("dd", {}, `for ${percent} % of the images`),
    h("dt", {}, "Mean"), h("dd", {}, figures(found.mean)),
    h("dt", {}, "Bias"), h("dd", {}, figures(found.feeds.bias)));
}

function distribution(found) {
  const { range, counts, bins } = found.histogram;
  const used = counts.map((count, i) => (count ? i : -1)).filter((i) => i >= 0);
  const [from, to] = [Math.max(0, used[0] - 1), Math.min(bins - 1, used.at(-1) + 1)];
  const at = (i) => -range + (2 * range * i) / bins;
  const most = Math.max(...counts);
  const points = [];
  for (let i = from; i <= to; i++) points.push([at(i), counts[i]], [at(i + 1), counts[i]]);
  const total = counts.reduce((a, b) => a + b);
  const rows = counts.map((count, i) => [`${figures(at(i), 3)} to ${figures(at(i + 1), 3)}`, String(count)]).filter((_, i) => counts[i]);
  return h("figure", {},
    plot({ series: [{ points, colour: "#4f86c6", width: 2 }], x: [at(from), at(to + 1)], y: [0, most * 1.05], xTicks: ticks(at(from), at(to + 1)), yTicks: ticks(0, most), marks: [0], ratio: 0.38,
      label: `Distribution of its excitations over ${total} images` }),
    h("figcaption", {}, `Its excitation (before the nonlinearity) by ${total.toLocaleString("en")} images; the dotted line is 0.`),
    h("details", {}, h("summary", {}, "The numbers"), table("Images by excitation", ["excitation", "images"], rows)));
}

function classes(found) {
  const most = Math.max(...found.classes.map((each) => each.mean), 1e-12);
  return h("div", {}, h("h3", {}, "Classes it serves"),
    h("table", { class: "bars" }, h("caption", {}, "Mean excitation above 0 by images of a class"),
      h("tbody", {}, found.classes.map((each) => h("tr", {}, h("th", { scope: "row" }, short(each.name)),
        h("td", { class: "room" }, h("div", { class: "bar", style: { width: `${(100 * each.mean) / most}%` } })), h("td", {}, figures(each.mean)))))));
}

function feeds(found, about, address) {
  const { feeds: fed } = found;
  if (fed.kernel) return h("section", {}, h("h2", {}, "Its kernel"), kernel(fed.kernel, 180, "The kernel in colours; grey is 0"), note("It sees the image itself. Grey is 0."));
  if (!fed.inputs) return null;
  const high = largest(fed.inputs.flatMap((each) => each.weights));
  return h("section", {}, h("h2", {}, `What feeds it: units of ${fed.from}`),
    note("Those with the largest weights. Red excites, blue inhibits."),
    table(`Weights from ${fed.from}`, ["unit", "weights", "their sum"], fed.inputs.map((each) => [
      !isSaved || has("unit", { run: about.run, layer: fed.from, unit: each.unit }) ? h("a", { href: address(fed.from, each.unit) }, `${fed.from} ${each.unit}`) : `${fed.from} ${each.unit}`,
      array(each.weights, high, true, { class: "pixels mini", role: "img", "aria-label": "weights" }), figures(each.sum)])));
}

// A kernel of colours, rows of [red, green, blue].
export function kernel(pixels, side, label) {
  const small = canvas(pixels[0].length, pixels.length, { class: "pixels", ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) });
  const context = small.getContext("2d"), data = context.createImageData(small.width, small.height);
  pixels.flat().forEach((colour, i) => data.data.set([...colour, 255], 4 * i));
  context.putImageData(data, 0, 0);
  if (side) small.style.width = small.style.height = `${side}px`;
  return small;
}
