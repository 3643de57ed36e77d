// An image: its labels, from each run, and what each of the ten views says. And where images come from.

import { error, get, go, h, here, isSaved, link, load, note, percent, send, short, site, source } from "./core.js";
import { canvas, part } from "./draw.js";

export async function imageView(content, { image }) {
  content.append(h("p", {}, "The five most probable labels, as in figure 4 of the paper; they are the average over ten views."));
  if (!isSaved) content.append(chooser(image));
  else content.append(savedImages(image));
  if (!image) return note("Choose an image to begin.");
  const wanted = here().query;
  const answer = await get("predict", { image, views: 10 });
  const first = site.about.runs[0];
  const whole = await load("image.png", { image, run: first.run });
  const known = answer.name ? `${short(answer.name)}${answer.key ? `, ${answer.key}` : ""}` : "an image that was sent";
  return [
    h("section", { class: "columns", "aria-label": "Labels" },
      h("figure", {},
        part(whole, 0, 0, first.size, first.size, 300, false, { role: "img", "aria-label": `The image: ${known}` }),
        h("figcaption", {}, answer.name ? [h("strong", {}, `True label: ${short(answer.name)}`), answer.key ? ` (${answer.key})` : ""] : known),
        h("p", { class: "row" },
          h("a", { href: link("/network", { image, run: wanted.run }) }, "Follow it through the network"))),
      answer.runs.map((run) => h("div", {}, h("h2", {}, answer.runs.length > 1 ? run.name : "Labels"), bars(run.top5, answer.wnid, `Labels by ${run.name}`)))),
    ...await Promise.all(answer.runs.map((run) => views(run, image, answer))),
  ];
}

// The five most probable labels as bars; the true one marked.
export function bars(top5, wnid, caption) {
  return h("table", { class: "bars" },
    h("caption", { class: "visually-hidden" }, caption),
    h("tbody", {}, top5.map((guess) =>
      h("tr", { class: guess.wnid === wnid ? "true" : null },
        h("th", { scope: "row" }, short(guess.name)),
        h("td", { class: "room" }, h("div", { class: "bar", style: { width: `${100 * guess.probability}%` } })),
        h("td", {}, percent(guess.probability))))));
}

async function views(run, image, answer) {
  const about = site.about.runs[run.run];
  const whole = await load("image.png", { image, run: run.run });
  const heading = answer.runs.length > 1 ? `What each of the ten views says (${run.name})` : "What each of the ten views says";
  return h("section", {},
    h("h2", {}, heading),
    note("Four corners and the centre, then their mirror images (section 4.1). Their softmax outputs are averaged."),
    h("ul", { class: "thumbs" }, run.views.map((view, i) => {
      const best = view.top5[0];
      const where = ["top left", "top right", "centre", "bottom left", "bottom right"][i % 5] + (view.mirrored ? ", mirrored" : "");
      const drawn = part(whole, view.left, view.top, about.crop, about.crop, 160, view.mirrored,
        { role: "img", "aria-label": `View ${i + 1}: ${where}` });
      return h("li", {}, h("div", {}, drawn, h("span", {}, `${short(best.name)} `), h("span", { class: "faint" }, percent(best.probability))));
    })));
}

// Where an image comes from: a file, the camera, the store.
function chooser(image) {
  const said = h("div", { "aria-live": "polite" });
  const take = async (blob) => {
    said.replaceChildren(note("Sending …"));
    try {
      const name = await send(blob);
      go(link(`/image/${name}`, { run: here().query.run }));
    } catch (problem) {
      said.replaceChildren(error(problem));
    }
  };
  const file = h("input", { type: "file", id: "file", accept: "image/*", class: "visually-hidden", change: () => file.files[0] && take(file.files[0]) });
  const box = h("div", { class: "drop" },
    h("div", { class: "row" },
      h("button", { type: "button", click: () => file.click() }, "Choose an image"),
      h("label", { for: "file", class: "visually-hidden" }, "Image file"), file,
      navigator.mediaDevices?.getUserMedia ? camera(take, said) : phone(take),
      h("span", { class: "faint" }, "or drop one here, or paste it")),
    said);
  box.addEventListener("dragover", (event) => { event.preventDefault(); box.classList.add("over"); });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  document.onpaste = (event) => {
    const found = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (found && box.isConnected) take(found);
  };
  if (site.about.store) box.append(storeImages(image));
  return box;
}

// Without a camera that a page can open: the phone's own.
function phone(take) {
  const input = h("input", { type: "file", id: "photo", accept: "image/*", capture: "environment", class: "visually-hidden", change: () => input.files[0] && take(input.files[0]) });
  return h("span", {}, h("button", { type: "button", click: () => input.click() }, "Take a photo"), h("label", { for: "photo", class: "visually-hidden" }, "Photo"), input);
}

function camera(take, said) {
  return h("button", { type: "button", click: async () => {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      said.replaceChildren(error("The camera cannot be used; choose an image instead."));
      return;
    }
    const video = h("video", { muted: true, playsinline: true, autoplay: true, "aria-label": "The camera", style: { maxWidth: "20rem", width: "100%" } });
    video.srcObject = stream;
    const stop = () => { stream.getTracks().forEach((track) => track.stop()); said.replaceChildren(); };
    const shoot = h("button", { type: "button", click: () => {
      if (!video.videoWidth) return;  // no frame has come yet
      const frame = canvas(video.videoWidth, video.videoHeight);
      frame.getContext("2d").drawImage(video, 0, 0);
      stop();
      frame.toBlob((blob) => take(blob), "image/png");
    } }, "Take the photo");
    said.replaceChildren(video, h("div", { class: "row" }, shoot, h("button", { type: "button", click: stop }, "Close the camera")));
    shoot.focus();
  } }, "Use the camera");
}

// Images of the store, by class.
function storeImages(image) {
  const { store } = site.about;
  const splits = Object.keys(store.splits);
  const kept = JSON.parse(sessionStorage.getItem("store") ?? "{}");
  const split = h("select", { id: "split" }, splits.map((name) => h("option", { value: name, selected: name === (kept.split ?? (splits.includes("val") ? "val" : splits[0])) }, name)));
  const wnid = h("select", { id: "class" }, h("option", { value: "" }, "all classes"),
    store.classes.map((each) => h("option", { value: each.wnid, selected: each.wnid === kept.wnid }, short(each.name))));
  const list = h("ul", { class: "thumbs small" });
  const fill = async () => {
    sessionStorage.setItem("store", JSON.stringify({ split: split.value, wnid: wnid.value }));
    const asked = { split: split.value, wnid: wnid.value, count: 14 };
    try {
      const { images } = await get("list", asked);
      if (asked.split !== split.value || asked.wnid !== wnid.value) return;
      list.replaceChildren(...images.map((each) => h("li", {}, h("a", {
        href: link(`/image/${each.image}`, { run: here().query.run }), "aria-current": each.image === image ? "true" : null },
        h("img", { src: source("image.png", { image: each.image }), alt: `${short(each.name)}, ${each.key}`, loading: "lazy", width: 64, height: 64 })))));
    } catch (problem) {
      list.replaceChildren(h("li", {}, error(problem)));
    }
  };
  split.addEventListener("change", fill);
  wnid.addEventListener("change", fill);
  fill();
  return h("div", {},
    h("div", { class: "row" }, h("label", { for: "split" }, "From the store"), split, h("label", { for: "class", class: "visually-hidden" }, "Class"), wnid),
    list);
}

// The images of a saved page.
export function savedImages(image, path = (name) => `/image/${name}`) {
  return h("ul", { class: "thumbs small" }, globalThis.SAVED.chosen.map((name) => h("li", {}, h("a", {
    href: link(path(name)), "aria-current": name === image ? "true" : null },
    h("img", { src: source("image.png", { image: name, run: 0 }), alt: name, width: 64, height: 64 })))));
}
