// The arithmetic of one output, in words, formulas and tables.

import { figures, h, note, table } from "./core.js";
import { array, largest } from "./draw.js";

const COLOURS = ["red", "green", "blue"];

export function arithmeticOf(found, layer, about, address) {
  const where = found.y || found.x || layer.shape.length === 3 ? `, row ${found.y}, column ${found.x}` : "";
  const head = h("p", {}, h("strong", {}, `${found.stage}, unit ${found.unit}${where} = ${figures(found.value, 6)}`));
  return [head, ...(KINDS[found.kind] ?? (() => []))(found, layer, about, address)];
}

const formula = (...lines) => h("div", { class: "formula", tabindex: 0, role: "region", "aria-label": "Formula" }, lines.map((line) => h("div", {}, line)));
const small = (values, high, label) => array(values, high, true, { class: "pixels mini", role: "img", "aria-label": label });

// The input that a contribution comes from: a colour of the image, or a unit of the stage before, as a link.
function nameOf(input, found, address) {
  if (found.from === null || found.from?.startsWith("pad")) return COLOURS[input.unit];
  const at = input.y === undefined ? "" : `, ${input.y}, ${input.x}`;
  return h("a", { href: address(found.from, input.unit) }, `${found.from} ${input.unit}${at}`);
}

// The last rows of a sum, whose number stands after `empty` empty cells.
function sumLines(found, empty = 3) {
  const line = (name, value) => [name, ...Array(empty).fill(""), figures(value, 6)];
  const rows = [line("bias", found.bias), { class: "total", cells: line("sum", found.total) }];
  return found.rest.count ? [line(`${found.rest.count} others`, found.rest.sum), ...rows] : rows;
}

function convolution(found, layer, about, address) {
  const patches = largest(found.inputs.flatMap((each) => each.patch)), kernels = largest(found.inputs.flatMap((each) => each.kernel));
  const size = layer.kernel_size, count = found.inputs.length + found.rest.count;
  const rows = found.inputs.map((each) => {
    const product = each.patch.map((row, y) => row.map((value, x) => (value === null ? null : value * each.kernel[y][x])));
    const name = nameOf(each, found, address);
    return [name, small(each.kernel, kernels, "kernel"), small(each.patch, patches, "patch"), small(product, patches * kernels, "products"), figures(each.sum, 6)];
  });
  const first = found.inputs[0];
  return [
    formula(`the sum over ${count} inputs of kernel × patch (${size} × ${size}), plus the bias`,
      `= ${figures(found.total - found.bias, 6)} + ${figures(found.bias, 6)} = ${figures(found.total, 6)}`),
    table("The inputs that count most. Red is positive, blue negative.", ["input", "kernel", "patch", "products", "their sum"], [...rows, ...sumLines(found)]),
    h("details", {}, h("summary", {}, "The numbers of the first row"),
      h("div", { class: "tiles" },
        numbers("kernel", first.kernel), numbers("patch", first.patch))),
  ];
}

const numbers = (caption, values) => table(`${caption} (– : outside)`, null, values.map((row) => row.map((value) => figures(value, 3))));

function fullyConnected(found, layer, about, address) {
  const rows = found.inputs.map((each) => [nameOf(each, found, address), figures(each.value), figures(each.weight), figures(each.sum, 6)]);
  return [
    formula(`the sum over ${found.inputs.length + found.rest.count} inputs of weight × value, plus the bias`, `= ${figures(found.total - found.bias, 6)} + ${figures(found.bias, 6)} = ${figures(found.total, 6)}`),
    table("The inputs that count most", ["input", "value", "weight", "product"], [...rows, ...sumLines(found, 2)]),
  ];
}

function normalisation(found, layer, about, address) {
  return [
    formula("x × (k + alpha × the sum of squares over the neighbouring maps) to the power of −beta (section 3.3)",
      `= ${figures(found.input, 6)} × (${found.k} + ${found.alpha} × ${figures(found.squares, 6)})^−${found.beta} = ${figures(found.total, 6)}`),
    table("The window: the same position in the neighbouring maps of its tower", ["map", "value", "its square"],
      found.window.map((each) => [h("a", { href: address(found.from, each.unit) }, `${found.from} ${each.unit}${each.unit === found.unit ? " (itself)" : ""}`), figures(each.value), figures(each.value ** 2)])),
  ];
}

const spatial = (found) => [
  formula("x × (1 + alpha / 25 × the sum of squares of the 5 × 5 pixels around) to the power of −beta", `= ${figures(found.input, 6)} × ${figures(found.scale, 6)}^−${found.beta} = ${figures(found.total, 6)}`),
  numbers("the pixels around", found.patch)];

function pooling(found) {
  const rows = found.patch.map((row, y) => row.map((value, x) => (y === found.at[0] && x === found.at[1] ? h("strong", {}, figures(value)) : figures(value))));
  return [formula(`the largest of ${rows.length} × ${rows.length} values (section 3.4) = ${figures(found.total, 6)}`),
    table("The window; its maximum is bold (– : outside)", null, rows)];
}

const oneToOne = (found) => [
  found.kind === "dropout" ? formula(`x × ${found.factor}: in testing all units work, at the output that they have on average in training (section 4.2)`, `= ${figures(found.input, 6)} × ${found.factor} = ${figures(found.total, 6)}`)
    : found.kind === "pad" ? note("Zeros on the right and at the bottom, so that the last kernels fit.")
    : formula(found.function === "relu" ? "max(0, x) (section 3.1)" : "tanh(x)", `x = ${figures(found.input, 6)}`)];

const KINDS = { conv: convolution, local: convolution, fc: fullyConnected, norm: normalisation, "spatial norm": spatial, pool: pooling, activation: oneToOne, dropout: oneToOne, pad: oneToOne };
