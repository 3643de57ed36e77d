// The page: navigation, the chosen run, and which view an address shows.

import { error, get, go, h, here, imageOf, isSaved, link, note, onMove, run, shared, site } from "./core.js";
import { imageView } from "./view_image.js";
import { kernelsView } from "./view_kernels.js";
import { mapView } from "./view_map.js";
import { networkView } from "./view_network.js";
import { trainingView } from "./view_training.js";
import { tricksView } from "./view_tricks.js";
import { unitView } from "./view_unit.js";

const VIEWS = {
  image: { title: "An image", view: imageView },
  network: { title: "Through the network", view: networkView },
  unit: { title: "A unit", view: unitView },
  kernels: { title: "Kernels", view: kernelsView },
  map: { title: "Map", view: mapView },
  tricks: { title: "Tricks of 2012", view: tricksView },
  training: { title: "Training", view: trainingView },
};

let current = 0;

async function show(moved = false) {
  const number = ++current;
  const kept = document.activeElement?.dataset.kept; // what keeps the focus from view to view
  const { parts, query } = here();
  const name = parts[0] in VIEWS ? parts[0] : "image";
  const { title, view } = VIEWS[name];
  document.title = `${title} – AlexNet`;
  navigation(name);
  const main = document.getElementById("main");
  const content = h("div", {});
  content.append(h("h1", {}, title), ...loud());
  try {
    const made = await view(content, { parts: parts.slice(1), query, image: imageOf(name === "image" && parts[1] ? { image: parts[1] } : query) });
    if (number !== current) return;
    if (made) content.append(...[made].flat());
  } catch (problem) {
    if (number !== current) return;
    content.append(error(problem));
  }
  main.replaceChildren(content);
  if (moved) {
    const again = kept && main.querySelector(`[data-kept="${kept}"]`);
    (again || main).focus({ preventScroll: true });
    if (!again) scrollTo(0, 0);
  }
}

// What has to be said of a network that nobody trained.
function loud() {
  return site.about.runs.filter((each) => each.random).map((each) => h("p", { class: "loud", role: "alert" },
    `The weights of ${each.name} are random: ${each.random}. Nothing here is the work of a trained network.`));
}

function navigation(name) {
  const { query, parts } = here();
  const image = name === "image" && parts[1] ? parts[1] : query.image;
  const path = (each) => (each === "image" ? (image ? `/image/${image}` : "/image") : `/${each}`);
  const items = Object.keys(VIEWS).map((each) => {
    const address = link(path(each), each === "image" ? { run: query.run } : { run: query.run, image });
    return h("li", {}, h("a", { href: address, "aria-current": each === name ? "page" : null }, VIEWS[each].title));
  });
  document.getElementById("nav").replaceChildren(h("ul", {}, items));
  const { runs } = site.about;
  const chosen = h("select", { id: "run", change: () => chooseRun(chosen.value) },
    runs.map((each) => h("option", { value: each.run, selected: each.run === run().run }, `${each.name} (${each.checkpoint})`)));
  const single = h("span", { class: "faint" }, `${runs[0].name}, ${runs[0].checkpoint}`);
  document.getElementById("choice").replaceChildren(...(runs.length > 1 ? [h("label", { for: "run" }, "Run"), chosen] : [single]));
}

function chooseRun(number) {
  const { path, query } = here();
  const kept = { ...query, run: number };
  for (const each of ["stage", "unit", "y", "x"]) delete kept[each];
  go(link(path, kept));
}

// Links stay in the page.
document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[href]");
  if (isSaved || !anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const address = anchor.getAttribute("href");
  if (!address.startsWith("/") || address.startsWith("/api/") || anchor.target) return;
  event.preventDefault();
  go(address);
});

async function start() {
  site.about = await get("about");
  if (isSaved) for (const name of Object.keys(VIEWS)) if (!globalThis.SAVED.views.includes(name)) delete VIEWS[name];
  onMove(show);
  addEventListener(isSaved ? "hashchange" : "popstate", () => show(true));
  document.getElementById("foot").replaceChildren(note(`alexnet ${site.about.version}`));
  await show();
}

start().catch((problem) => document.getElementById("main").replaceChildren(error(problem)));
