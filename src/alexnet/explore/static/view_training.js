// The training: curves, live while it trains, and the kernels of each kept checkpoint.

import { error, figures, get, h, note, percent, run, source, table } from "./core.js";
import { plot, ticks } from "./draw.js";

export async function trainingView(content) {
  const about = run();
  const box = h("div", {});
  content.append(h("p", {}, "The log of the training (metrics.jsonl): the loss of its steps, and its errors on the validation images (centre view)."));
  let shown = "";
  const fill = (found) => {
    const now = JSON.stringify(found);
    if (now === shown) return;
    shown = now;
    box.replaceChildren(...drawn(found, about));
  };
  const found = await get("training", { run: about.run }, true);
  fill(found);
  const again = async () => {
    if (!box.isConnected) return;
    if (!document.hidden) {
      try { fill(await get("training", { run: about.run }, true)); } catch (problem) { box.prepend(error(problem)); return; }
    }
    setTimeout(again, 3000);
  };
  if (found.trains) setTimeout(again, 3000);
  return box;
}

function drawn(found, about) {
  const { steps, evaluations } = found;
  const epochs = steps.epoch, last = epochs.at(-1) ?? evaluations.at(-1)?.epoch ?? 1;
  const points = (values, factor = 1) => values.map((value, i) => [epochs[i], value === null ? null : value * factor]).filter((each) => each[1] !== null);
  const losses = steps.loss.filter((each) => each !== null);
  const sorted = [...losses].sort((a, b) => a - b);
  const top = (sorted[Math.floor(0.99 * sorted.length)] ?? 1) * 1.08;
  const axis = { x: [0, last], xTicks: ticks(0, last) , marks: found.drops.map((each) => each.epoch) };
  const best = evaluations.length ? evaluations.reduce((a, b) => (b.top1_error < a.top1_error ? b : a)) : null;
  const state = found.trains ? "It trains now; this page follows." : "It does not train now.";
  return [
    h("p", { role: "status" }, `${found.count.toLocaleString("en")} steps, ${figures(last, 3)} epochs. ${state}`,
      best ? ` Lowest top-1 error: ${percent(best.top1_error)}, after ${figures(best.epoch, 3)} epochs.` : ""),
    found.unreadable ? note(`${found.unreadable} lines of the log cannot be read and are left out.`) : null,
    h("section", { class: "columns wider" },
      h("figure", {}, h("h2", {}, "Training loss"),
        plot({ ...axis, series: [{ points: points(steps.loss), colour: "#4f86c6" }], y: [0, top], yTicks: ticks(0, top), label: `Training loss over ${figures(last, 3)} epochs, now ${figures(losses.at(-1))}` }),
        h("figcaption", {}, "Over epochs. Dotted lines: the learning rate falls.")),
      h("figure", {}, h("h2", {}, "Error"),
        plot({ ...axis, series: [
          { points: points(steps.train_top1_error, 100), colour: "#8a8a8a", width: 1 },
          { points: evaluations.map((each) => [each.epoch, 100 * each.top5_error]), colour: "#d69a00" },
          { points: evaluations.map((each) => [each.epoch, 100 * each.top1_error]), colour: "#c8391b", width: 2 }],
          y: [0, 100], yTicks: ticks(0, 100, " %"), label: `Errors over ${figures(last, 3)} epochs` }),
        h("figcaption", {}, "Red: top-1, yellow: top-5, validation. Grey: top-1, training, with dropout."))),
    h("details", {}, h("summary", {}, "The numbers"), table("Evaluations on the validation images", ["epoch", "loss", "top-1 error", "top-5 error"],
      evaluations.map((each) => [figures(each.epoch, 3), figures(each.loss), percent(each.top1_error), percent(each.top5_error)]))),
    h("h2", {}, "The kernels of conv1 in each kept checkpoint"),
    note("The last two checkpoints and the best ones are kept. The towers stand above each other."),
    h("div", { class: "film", tabindex: 0, role: "region", "aria-label": "Film strip of kernels" }, found.checkpoints.map((each) => h("figure", {},
      h("img", { src: source("film.png", { run: about.run, step: each.step }), alt: `Kernels after ${each.step} steps`, class: "pixels frame" }),
      h("figcaption", {}, `step ${each.step.toLocaleString("en")}${each.epoch === null ? "" : `, epoch ${figures(each.epoch, 3)}`}${each.best ? ", the best" : ""}`)))),
  ].filter(Boolean);
}
