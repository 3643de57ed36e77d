// The kernels of conv1 (figure 3), by tower, sortable.

import { figures, get, h, here, link, note, run, table } from "./core.js";
import { kernel } from "./view_unit.js";

const ORDERS = { unit: "number", orientation: "orientation", colourfulness: "colourfulness", norm: "size of the weights" };

export async function kernelsView(content) {
  const about = run();
  const found = await get("kernels", { run: about.run });
  const query = here().query;
  let order = query.sort in ORDERS ? query.sort : "unit";
  content.append(h("p", {}, `The ${found.kernels.length} kernels of ${found.layer}, ${found.size} × ${found.size} weights for each colour, as in figure 3 of the paper. There, the first tower's are grey and the second tower's coloured.`));
  const select = h("select", { id: "order", change: () => { order = select.value; fill(); history.replaceState(null, "", link("/kernels", { ...here().query, sort: order })); } },
    Object.entries(ORDERS).map(([value, text]) => h("option", { value, selected: value === order }, text)));
  content.append(h("div", { class: "row" }, h("label", { for: "order" }, "Sort by"), select));
  const lists = h("div", {}), numbers = h("div", {});
  const fill = () => {
    const sorted = [...found.kernels].sort((a, b) => (order === "unit" ? a.unit - b.unit : order === "orientation" ? a.orientation - b.orientation : b[order] - a[order]));
    lists.replaceChildren(...Array.from({ length: found.towers }, (_, tower) => {
      const mine = sorted.filter((each) => each.tower === tower + 1);
      const mean = mine.reduce((sum, each) => sum + each.colourfulness, 0) / mine.length;
      return h("section", {},
        h("h2", {}, found.towers > 1 ? `Tower ${tower + 1}` : "All kernels"),
        note(`${(100 * mean).toFixed(0)} % of their weights is colour, on average.`),
        h("ul", { class: "kernels" }, mine.map((each) => h("li", {}, h("a", {
          href: link(`/unit/${found.layer}/${each.unit}`, { run: here().query.run, image: here().query.image }),
          "aria-label": `Unit ${each.unit}: stripes at ${Math.round(each.orientation)} degrees, ${Math.round(100 * each.colourfulness)} % colour` }, kernel(each.pixels))))));
    }));
    numbers.replaceChildren(h("details", {}, h("summary", {}, "The numbers"), table("Kernels", ["unit", "tower", "orientation", "clearness", "colourfulness", "size of the weights"],
      sorted.map((each) => [String(each.unit), String(each.tower), `${each.orientation.toFixed(0)}°`, figures(each.coherence, 2), figures(each.colourfulness, 2), figures(each.norm, 3)]))));
  };
  fill();
  return [lists, note("Orientation is that of the stripes: 0° is horizontal, 45° rises to the right. Colourfulness is the part of the squared weights that is not grey."), numbers];
}
