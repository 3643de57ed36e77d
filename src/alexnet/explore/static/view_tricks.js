// The tricks of 2012, each with a switch, on the chosen image.

import { chooseFirst, error, figures, get, go, h, here, link, note, run, site, source } from "./core.js";
import { bars } from "./view_image.js";

const KEYS = ["activation", "norm", "overlapping", "dropout", "top", "left", "mirrored", "colour", "mean", "views"];

export async function tricksView(content, { image }) {
  if (!image) return chooseFirst();
  const about = run(), query = here().query;
  const state = Object.fromEntries(KEYS.filter((key) => key in query).map((key) => [key, query[key]]));
  content.append(h("p", {}, "Each switch changes what this network does with this image. The weights were trained with all of it on, so this shows what a trick does, not how a network does that never had it."));
  const base = await get("tricks", { image, run: about.run });
  const result = h("section", { class: "card result", "aria-live": "polite", "aria-label": "Result" });
  const boxes = h("div", { class: "columns" });
  let latest = 0;
  const set = async (change) => {
    for (const [key, value] of Object.entries(change)) value === null ? delete state[key] : (state[key] = value);
    const number = ++latest;
    const kept = Object.fromEntries(Object.entries(here().query).filter(([key]) => !KEYS.includes(key)));
    go(link("/tricks", { ...kept, image, ...state }), true);
    try {
      const found = await get("tricks", { image, run: about.run, ...state });
      if (number === latest) result.replaceChildren(...shown(base, found, about, image, state));
    } catch (problem) {
      if (number === latest) result.replaceChildren(error(problem));
    }
  };
  const on = (key, value) => state[key] === value;
  const check = (id, label, checked, change) => {
    const box = h("input", { type: "checkbox", id, checked, change: () => change(box.checked) });
    return h("p", { class: "row" }, box, h("label", { for: id }, label));
  };
  const section = (title, at, sentence, ...controls) => h("section", { class: "card" }, h("h2", {}, title), h("p", {}, `${sentence} `, h("span", { class: "faint" }, `(section ${at})`)), controls);
  const other = base.activation === "relu" ? "tanh" : "relu";
  boxes.append(
    section("ReLU or tanh", "3.1", "A ReLU passes what is above 0 as it is; a tanh saturates, and learns several times more slowly.",
      check("activation", `${other === "tanh" ? "tanh" : "ReLU"} in place of ${other === "tanh" ? "ReLU" : "tanh"}`, on("activation", other), (checked) => set({ activation: checked ? other : null }))),
    section("Response normalisation", "3.3", "A strong output dampens those of the neighbouring maps at the same position.",
      base.has_norm ? check("norm", "normalise", !on("norm", "0"), (checked) => set({ norm: checked ? null : "0" })) : note("This network has none.")),
    section("Overlapping pooling", "3.4", "Windows of 3 × 3 at every second position overlap; plain ones are 2 × 2.",
      base.overlapping ? check("overlapping", "windows overlap", !on("overlapping", "0"), (checked) => set({ overlapping: checked ? null : "0" })) : note("This network's windows do not overlap.")),
    section("Dropout", "4.2", `In training each unit of fc6 and fc7 is dropped with probability ${base.dropout}: every mask is another network. In testing all work.`,
      base.dropout ? [check("dropout", "drop units", "dropout" in state, (checked) => set({ dropout: checked ? "1" : null })), h("button", { type: "button", click: () => { document.getElementById("dropout").checked = true; set({ dropout: String(Number(state.dropout ?? 0) + 1) }); } }, "Another mask")] : note("This network has none.")),
    section("Crops and mirror images", "4.1", `Training sees ${base.crops.toLocaleString("en")} crops and mirror images of every image.`,
      slider("top", "Top", 0, base.edge, 1, state.top ?? Math.floor(base.edge / 2), (value) => set({ top: String(value), views: null })),
      slider("left", "Left", 0, base.edge, 1, state.left ?? Math.floor(base.edge / 2), (value) => set({ left: String(value), views: null })),
      check("mirrored", "mirror image", on("mirrored", "1"), (checked) => set({ mirrored: checked ? "1" : null }))),
    section("Colour noise", "4.1", "Training shifts the colours of each image along the three axes of colour of the whole store; 0.1 is one standard deviation.",
      site.about.store ? colour(state, set) : note("The axes are those of a store: start with --data STORE.")),
    section("Mean image", "2", "The mean over all training images is subtracted from each pixel.",
      h("img", { src: source("mean.png", { run: about.run }), alt: "The mean image", width: 96, height: 96 }),
      check("mean", "subtract it", !on("mean", "0"), (checked) => set({ mean: checked ? null : "0" }))),
    section("One view or ten", "4.1", "In testing the outputs for ten views are averaged.",
      check("views", "ten views", on("views", "10"), (checked) => set({ views: checked ? "10" : null }))));
  content.append(result, boxes);
  await set({});
  return null;
}

function slider(id, label, low, high, step, value, change) {
  const shown = h("output", { for: id }, String(value));
  const input = h("input", { type: "range", id, min: low, max: high, step, value, input: () => { shown.textContent = input.value; }, change: () => change(input.value) });
  return h("p", { class: "row" }, h("label", { for: id }, label), input, shown);
}

function colour(state, set) {
  const now = (state.colour ?? "0,0,0").split(",");
  return [2, 1, 0].map((axis, i) => slider(`colour-${axis}`, `Axis ${i + 1}`, -0.3, 0.3, 0.05, now[axis], (value) => {
    now[axis] = value;
    set({ colour: now.every((each) => Number(each) === 0) ? null : now.join(",") });
  }));
}

function shown(base, found, about, image, state) {
  const query = { image, run: about.run, ...state };
  const box = h("div", { class: "columns" },
    h("div", {}, h("h2", {}, "As it is, one view"), bars(base.top5, null, "Labels as it is")),
    h("div", {}, h("h2", {}, "With these switches"), found.top5 ? bars(found.top5, null, "Labels with these switches") : note("With this input, windows that do not overlap end at another size than fc6 was trained on. Only the maps can be shown.")),
    h("div", {}, h("h2", {}, "The input"), h("img", { src: source("trick-input.png", query), alt: "The network's input", width: 150, height: 150, class: "pixels" }),
      note(state.mean === "0" ? "As the image is." : "Minus the mean image; grey is 0.", found.shift.some((each) => each) ? ` Shifted by ${found.shift.map((each) => figures(each, 2)).join(", ")} grey levels of red, green, blue.` : "")),
    h("div", {}, h("h2", {}, "The maps before conv2"), h("img", { src: source("trick-maps.png", query), alt: `${found.maps[0]} maps`, class: "pixels frame" }),
      note(`${found.maps.join(" × ")}. Of the activations of conv1 ${(100 * found.zero).toFixed(1)} % are exactly 0${state.activation === "tanh" || base.activation === "tanh" ? `, ${(100 * found.saturated).toFixed(1)} % are saturated (above 0.99 or below −0.99)` : ""}.`)));
  return [box];
}
