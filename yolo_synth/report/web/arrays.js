"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const S = D.structure, N = S.kinds.length;
const $ = id => document.getElementById(id);
const FONT = getComputedStyle(document.body).fontFamily;
const UNDEFINED = -32768;
const MAIN = D.measures[0][0];

// ---- packed arrays

async function unpack(id) {
  const text = atob($(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / 2, values = new Int16Array(count);
  for (let i = 0; i < count; i++) {
    // Even codes are positive, odd ones negative: small differences have a high byte of zeros, which packs well.
    const zigzag = planes[i] | planes[count + i] << 8;
    values[i] = zigzag >>> 1 ^ -(zigzag & 1);
  }
  return values;
}

// Sums of differences wrap round at 2**16, as the differences did.
function sumRows(values) {
  for (let i = 0; i < values.length; i++) if (i % N) values[i] += values[i - 1];
}

function sumColumns(values) {
  for (let i = 0; i < values.length; i++) if (i % (N * N) >= N) values[i] += values[i - N];
}

const scaled = (values, step) =>
  Float32Array.from(values, value => value === UNDEFINED ? NaN : value * step);

function readSeries(values) {
  sumRows(values);
  let row = 0;
  const next = () => scaled(values.subarray(row * N, ++row * N), D.trackPrecision);
  for (const pair of D.pairs) pair.row = Object.fromEntries(pair.rows.map(name => [name, next()]));
}

function readMatrices(values) {
  sumRows(values);
  sumColumns(values);
  D.pairs.forEach((pair, number) => {
    const start = 2 * number * N * N;
    const first = values.subarray(start, start + N * N), more = values.subarray(start + N * N, start + 2 * N * N);
    // The second matrix is stored as what it has more than the first.
    for (let i = 0; i < N * N; i++) more[i] += first[i];
    [first, more].forEach((steps, place) => {
      const matrix = pair[D.measures[place][0]] = scaled(steps, D.precision);
      if (pair.first === pair.second) mirror(matrix);
    });
  });
}

function mirror(matrix) {
  for (let row = 0; row < N; row++)
    for (let column = row + 1; column < N; column++) matrix[row * N + column] = matrix[column * N + row];
}

// ---- words

const digits = (value, places = 3) =>
  Number.isNaN(value) ? "not defined" : value.toFixed(places).replace("-", "\u2212").replace(/^\u2212(0\.0+)$/, "$1");
const kindName = layer => S.names[layer] || D.kindNames[S.kinds[layer]] || S.kinds[layer];
const side = (layer, size) => Math.ceil(size / S.strides[layer]);
const compared = pair => pair.first !== pair.second;
const title = pair => compared(pair) ? `${pair.first} vs ${pair.second}` : `${pair.first} with itself`;
const view = pair => `${pair.probe}, ${pair.size} px`;
const measureName = name => Object.fromEntries(D.measures)[name];
const part = layer => layer < S.backboneEnd ? "backbone" : "head";

function describe(layer, size) {
  const cells = side(layer, size);
  return `layer ${layer}, ${kindName(layer)}, ${cells}\u00d7${cells}`;
}

function reads(layer) {
  const others = S.sources[layer].filter(source => source !== layer - 1 && source >= 0);
  return others.length ? `, reads ${others.length > 1 ? "layers" : "layer"} ${others.join(" and ")}` : "";
}

function mean(values, start, end) {
  const defined = values.slice(start, end).filter(value => !Number.isNaN(value));
  return defined.length ? defined.reduce((sum, value) => sum + value, 0) / defined.length : NaN;
}

// Of corresponding layers.
function means(pair) {
  return [["backbone", 0, S.backboneEnd], ["head", S.backboneEnd, N]]
    .filter(([, start, end]) => start < end)
    .map(([name, start, end]) => `${name} ${digits(mean(pair.row[MAIN], start, end), 2)}`).join(", ");
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
