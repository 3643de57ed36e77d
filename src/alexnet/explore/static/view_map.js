// The store as the last hidden layer sees it: a map by principal components, and the neighbours of an image.

import { get, go, h, here, isSaved, link, note, run, short, site, source, table, threeFigures } from "./core.js";
import { canvas, outline, token } from "./draw.js";
import { progress } from "./view_unit.js";
import { savedImages } from "./view_image.js";

const COLOURS = ["#4f86c6", "#d1603d", "#4c9f70", "#9a6fb0", "#c9a227", "#3aa6a6", "#c2577f", "#7a7a7a", "#8c6d46", "#6b8e23"];

export async function mapView(content, { image }) {
  const about = run();
  content.append(h("p", {}, "Each point is an image of the store, where the last hidden layer (fc7 after its ReLU) has it. The axes are the first two principal components: a shadow of thousands of dimensions. Neighbours are the nearest in all of them, by Euclidean distance, as in figure 4 of the paper."));
  if (isSaved) content.append(savedImages(image, (name) => link("/map", { image: name }).slice(1)));
  const found = await get("store", { run: about.run, image }, !isSaved);
  if (found.index) return [progress(found.index, content), note("The map appears when all images are indexed.")];
  const near = image ? await get("similar", { run: about.run, image, count: 12 }) : null;
  const classes = site.about.store.classes;
  const drawn = drawMap(found, near, classes, about, image);
  return [
    h("section", { class: "stage" },
      h("figure", {}, drawn, h("figcaption", {}, `${found.points.length.toLocaleString("en")} images. Along the two axes lie ${(100 * found.explained[0]).toFixed(1)} and ${(100 * found.explained[1]).toFixed(1)} % of the variance. `,
        near ? "The square is the image; lines lead to neighbours that are on the map." : ""), legend(classes)),
      near ? neighbours(near, image, about) : note("Choose an image to see its neighbours.")),
  ];
}

function drawMap(found, near, classes, about, image) {
  const size = 720, made = canvas(size, size, { class: "full", tabindex: 0, role: "application", "data-kept": "map", "aria-label": "Map of the store. Click a point, or go from one to the next with the arrow keys." });
  const xs = found.points.map((point) => point.x), ys = found.points.map((point) => point.y);
  if (found.here) { xs.push(found.here.x); ys.push(found.here.y); }
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = range(xs), [y0, y1] = range(ys);
  const atX = (x) => 14 + ((x - x0) / (x1 - x0 || 1)) * (size - 28), atY = (y) => size - 14 - ((y - y0) / (y1 - y0 || 1)) * (size - 28);
  const context = made.getContext("2d");
  context.fillStyle = token("--well");
  context.fillRect(0, 0, size, size);
  for (const point of found.points) {
    context.fillStyle = COLOURS[point.label % COLOURS.length];
    context.globalAlpha = 0.75;
    context.beginPath();
    context.arc(atX(point.x), atY(point.y), found.points.length > 800 ? 3 : 4.5, 0, 7);
    context.fill();
  }
  context.globalAlpha = 1;
  if (found.here) {
    const drawn = new Map(found.points.map((point) => [point.image, point]));
    context.strokeStyle = token("--ink");
    for (const each of near?.nearest ?? []) {
      const point = drawn.get(each.image);
      if (!point) continue;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(atX(found.here.x), atY(found.here.y));
      context.lineTo(atX(point.x), atY(point.y));
      context.stroke();
    }
    outline(context, atX(found.here.x) - 7, atY(found.here.y) - 7, 14, 14, 3);
  }
  made.addEventListener("click", (event) => {
    const scale = size / made.clientWidth, [x, y] = [event.offsetX * scale, event.offsetY * scale];
    const best = found.points.map((point) => [Math.hypot(atX(point.x) - x, atY(point.y) - y), point]).sort((a, b) => a[0] - b[0])[0];
    if (!isSaved && best && best[0] < 20) go(link("/map", { ...here().query, image: best[1].image }));
  });
  // By keyboard: to the next point in the direction of the arrow.
  made.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || isSaved) return;
    event.preventDefault();
    const [x, y] = found.here ? [atX(found.here.x), atY(found.here.y)] : [size / 2, size / 2];
    let next = null, least = Infinity;
    for (const point of found.points) {
      const right = atX(point.x) - x, down = atY(point.y) - y;
      const along = right * step[0] + down * step[1], across = Math.abs(right * step[1] - down * step[0]);
      if (point.image !== image && along > across && along + 2 * across < least) [next, least] = [point, along + 2 * across];
    }
    if (next) go(link("/map", { ...here().query, image: next.image }));
  });
  return made;
}

function legend(classes) {
  if (classes.length > 30) return null;
  return h("p", { class: "note" }, classes.flatMap((each, i) => {
    const dot = canvas(10, 10, { "aria-hidden": "true" });
    const context = dot.getContext("2d");
    context.fillStyle = COLOURS[i % COLOURS.length];
    context.fillRect(0, 0, 10, 10);
    dot.className = "dot";
    return [h("span", { class: "entry" }, dot, ` ${short(each.name)}`), " "];
  }));
}

function neighbours(near, image, about) {
  return h("section", {}, h("h2", {}, "The nearest images"),
    h("p", {}, h("img", { src: source("image.png", { image, run: about.run }), alt: "The image", width: 110, height: 110 })),
    h("ul", { class: "thumbs" }, near.nearest.map((each) => h("li", {}, h("a", { href: link("/map", { ...here().query, image: each.image }) },
      h("img", { src: source("image.png", { image: each.image, run: about.run }), alt: each.key, width: 96, height: 96 }), `${short(each.name)} `, h("span", { class: "faint" }, threeFigures(each.distance)))))),
    h("details", {}, h("summary", {}, "The numbers"), table(`Distances in ${near.layer}`, ["image", "class", "distance"], near.nearest.map((each) => [each.key, short(each.name), threeFigures(each.distance)]))));
}
