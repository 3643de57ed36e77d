// Drawing on canvas: maps in colours, images with boxes, arrays of numbers.

const ANCHORS = {
  viridis: "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
  signed: "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
};

// The colour of a fraction, as the server's images of maps have it.
export function colour(fraction, name) {
  const anchors = ANCHORS[name].split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const at = Math.min(Math.max(fraction, 0), 1) * (anchors.length - 1);
  const low = Math.min(Math.floor(at), anchors.length - 2);
  return anchors[low].map((part, c) => Math.round(part + (at - low) * (anchors[low + 1][c] - part)));
}

export function canvas(width, height, attributes = {}) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// An array of numbers, rows of equal length (null: outside), as a canvas of a pixel each.
export function array(values, high, signed, attributes = {}) {
  const made = canvas(values[0].length, values.length, { class: "pixels", ...attributes });
  const context = made.getContext("2d");
  const data = context.createImageData(made.width, made.height);
  values.flat().forEach((value, i) => {
    const fraction = signed ? ((value ?? 0) / high + 1) / 2 : (value ?? 0) / high;
    data.data.set([...colour(fraction, signed ? "signed" : "viridis"), value === null ? 60 : 255], 4 * i);
  });
  context.putImageData(data, 0, 0);
  return made;
}

export const largest = (values) => Math.max(1e-12, ...values.flat().map((value) => Math.abs(value ?? 0)));

// Part of an image, scaled to a canvas; mirrored if asked.
export function part(image, left, top, width, height, side, mirrored = false, attributes = {}) {
  const made = canvas(side, Math.round((side * height) / width), attributes);
  const context = made.getContext("2d");
  if (mirrored) {
    context.translate(made.width, 0);
    context.scale(-1, 1);
  }
  context.imageSmoothingEnabled = width > side / 3;
  context.drawImage(image, left, top, width, height, 0, 0, made.width, made.height);
  return made;
}

// A rectangle that shows on light and dark.
export function outline(context, x, y, width, height, line = 2) {
  context.lineWidth = line + 2;
  context.strokeStyle = "#fff";
  context.strokeRect(x, y, width, height);
  context.lineWidth = line;
  context.strokeStyle = "#c8391b";
  context.strokeRect(x, y, width, height);
}

export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A line plot on canvas: series of {points: [[x, y]], colour, width}, in a frame with ticks. Returns the canvas.
export function plot({ series, x, y, xTicks, yTicks, label, marks = [], ratio = 0.5 }) {
  const scale = 2, width = Math.min(620, Math.max(300, innerWidth - 50)), height = Math.round(width * ratio), left = 44, bottom = 26, top = 8, right = 10;
  const made = canvas(width * scale, height * scale, { role: "img", "aria-label": label, class: "full" });
  const context = made.getContext("2d");
  context.scale(scale, scale);
  const atX = (value) => left + ((value - x[0]) / (x[1] - x[0] || 1)) * (width - left - right);
  const atY = (value) => height - bottom - ((value - y[0]) / (y[1] - y[0] || 1)) * (height - bottom - top);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = token("--faint");
  context.strokeStyle = token("--line");
  for (const tick of yTicks) {
    context.beginPath();
    context.moveTo(left, atY(tick.at));
    context.lineTo(width - right, atY(tick.at));
    context.stroke();
    context.textAlign = "right";
    context.fillText(tick.text, left - 6, atY(tick.at) + 4);
  }
  for (const tick of xTicks) {
    context.textAlign = "center";
    context.fillText(tick.text, atX(tick.at), height - 8);
  }
  context.setLineDash([2, 3]);
  context.strokeStyle = token("--faint");
  for (const mark of marks) {
    context.beginPath();
    context.moveTo(atX(mark), top);
    context.lineTo(atX(mark), height - bottom);
    context.stroke();
  }
  context.setLineDash([]);
  context.save();
  context.beginPath();
  context.rect(left, top, width - left - right, height - top - bottom + 1);
  context.clip();
  for (const each of series) {
    context.strokeStyle = each.colour;
    context.lineWidth = each.width ?? 1.6;
    context.beginPath();
    each.points.forEach(([px, py], i) => context[i ? "lineTo" : "moveTo"](atX(px), atY(py)));
    context.stroke();
  }
  context.restore();
  return made;
}

// Four to seven round ticks of a range.
export function ticks(low, high, unit = "") {
  const span = high - low || 1, rough = span / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => span / n <= 6);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + 1e-9 * span; at += step) {
    found.push({ at, text: `${Number(at.toPrecision(6))}${unit}` });
  }
  return found;
}
