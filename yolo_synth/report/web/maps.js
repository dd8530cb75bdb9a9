// ---- heat maps

const viridis = D.viridis.map(hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16)));

function colourOf(value) {
  return value < 0 ? [0, 0, 0] : viridis[Math.min(255, Math.floor(value * 256))];
}

// One pixel a cell, the first row at the bottom; undefined cells are left transparent.
function bitmap(matrix) {
  const canvas = element("canvas", { width: N, height: N });
  const c = canvas.getContext("2d"), image = c.createImageData(N, N);
  for (let row = 0; row < N; row++)
    for (let column = 0; column < N; column++) {
      const value = matrix[row * N + column];
      if (!Number.isNaN(value)) image.data.set([...colourOf(value), 255], 4 * ((N - 1 - row) * N + column));
    }
  c.putImageData(image, 0, 0);
  return canvas;
}

function hatch(c) {
  const tile = element("canvas", { width: 6, height: 6 }), t = tile.getContext("2d");
  t.fillStyle = D.shade;
  t.fillRect(0, 0, 6, 6);
  t.strokeStyle = D.grey;
  t.lineWidth = 1.2;
  for (const shift of [-6, 0, 6]) { t.moveTo(shift - 1, 7); t.lineTo(shift + 7, -1); }
  t.stroke();
  return c.createPattern(tile, "repeat");
}

function drawCells(c, matrix, left, top, length) {
  c.fillStyle = hatch(c);
  c.fillRect(left, top, length, length);
  // Below three pixels a cell, nearest neighbours would drop lines; but smoothing would blend cells that are not defined.
  c.imageSmoothingEnabled = length * (window.devicePixelRatio || 1) < 3 * N && !matrix.some(Number.isNaN);
  c.drawImage(bitmap(matrix), left, top, length, length);
}

function drawBorders(c, x, y, strong, thin) {
  for (const [start] of S.regions.slice(1)) {
    const white = "rgba(255, 255, 255, .75)";
    line(c, [[x.edge(start), y.edge(0)], [x.edge(start), y.edge(N)]], white, thin);
    line(c, [[x.edge(0), y.edge(start)], [x.edge(N), y.edge(start)]], white, thin);
  }
  if (S.backboneEnd === N) return;
  line(c, [[x.edge(S.backboneEnd), y.edge(0)], [x.edge(S.backboneEnd), y.edge(N)]], "#fff", strong);
  line(c, [[x.edge(0), y.edge(S.backboneEnd)], [x.edge(N), y.edge(S.backboneEnd)]], "#fff", strong);
}

function mapFrame() {
  const canvas = $("map"), width = canvas.parentElement.clientWidth, ratio = window.devicePixelRatio || 1;
  const narrow = width < 600, side = narrow ? 14 : 24, left = (narrow ? 24 : 46) + side;
  const room = (width - left - 4) * ratio / N;
  // Whole device pixels a cell where there is room, so that all cells look equally large.
  const length = (room >= 2 ? Math.floor(room) : room) / ratio * N;
  const top = 42, height = top + length + side + 38;
  return { canvas, width, height, side, left, top, length, x: scale(left, length), y: scale(top + length, -length) };
}

let frame;

function drawMap() {
  const pair = state.pair, matrix = pair[state.measure];
  frame = mapFrame();
  const { canvas, width, height, side: thick, left, top, length, x, y } = frame;
  const c = fit(canvas, width, height);
  drawParts(c, x, 17);
  drawScales(c, x, 38, pair.size);
  drawCells(c, matrix, left, top, length);
  drawBorders(c, x, y, 1.6, .7);
  drawBars(c, y, left - thick / 2 - 2, thick - 4, true);
  drawBars(c, x, top + length + thick / 2 + 2, thick - 4);
  for (let layer = 0; layer < N; layer += every(x)) {
    write(c, layer, x(layer), top + length + thick + 12, { size: 10.5 });
    write(c, layer, left - thick - 4, y(layer) + 3.5, { size: 10.5, align: "right" });
  }
  write(c, `layer of ${pair.second}`, left + length / 2, height - 5, { size: 11.5 });
  if (thick > 20) {
    c.save();
    c.translate(11, top + length / 2);
    c.rotate(-Math.PI / 2);
    write(c, `layer of ${pair.first}`, 0, 0, { size: 11.5 });
    c.restore();
  }
  if (state.row >= 0 && !fit.sheet) {
    // Dark on white can be seen on every colour of the map.
    for (const [colour, thickness] of [["#fff", 3], [D.ink, 1]]) {
      line(c, [[left - thick, y(state.row)], [x.edge(state.column), y(state.row)]], colour, thickness);
      line(c, [[x(state.column), y.edge(state.row)], [x(state.column), top + length + thick]], colour, thickness);
      c.strokeStyle = colour;
      c.lineWidth = thickness;
      c.strokeRect(x.edge(state.column), y.edge(state.row + 1), x.step, -y.step);
    }
  }
  canvas.setAttribute("aria-label", `Heat map, ${title(pair)}, ${view(pair)}, ${measureName(state.measure)} of layer against layer; ` +
    `mean of corresponding layers: ${means(pair)}`);
  tellCell();
}

// As a file: with what is text in the page.
function drawNamedMap() {
  drawWords(`${title(state.pair)}, ${view(state.pair)}, ${measureName(state.measure)}`);
  drawMap();
  drawKey();
}

const swatch = value => element("span", {
  class: "swatch", style: `background: ${Number.isNaN(value) ? D.shade : `rgb(${colourOf(value)})`}` });

function tellCell() {
  const { pair, row, column } = state, at = row * N + column;
  const term = (name, ...content) => element("div", {}, element("dt", {}, name), element("dd", {}, ...content));
  const layer = (name, index) => term(name, describe(index, pair.size));
  const value = (name, measure) => {
    const made = term(name, swatch(pair[measure][at]), digits(pair[measure][at]));
    made.lastChild.className = "value";
    return made;
  };
  $("cell").replaceChildren(
    term("Mean of corresponding layers", means(pair)),
    ...(row < 0 ? [term("A cell", "Point at one in the map, or focus it and use the arrow keys.")] : [
      layer(`Row: ${pair.first}`, row), layer(`Column: ${pair.second}`, column),
      ...D.measures.map(([name, words]) => value(words, name))]));
}

function choosePair(number) {
  state.pair = D.pairs[number];
  $("picker").value = number;
  drawMap();
}

function listenToMap() {
  const canvas = $("map");
  canvas.setAttribute("role", "img");
  const follow = event => {
    const box = canvas.getBoundingClientRect(), ratio = frame.width / box.width;
    state.column = frame.x.layer((event.clientX - box.left) * ratio);
    state.row = frame.y.layer((event.clientY - box.top) * ratio);
    drawMap();
  };
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("pointerdown", follow);
  canvas.addEventListener("keydown", event => {
    const along = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
    if (!along) return;
    event.preventDefault();
    state.row = bounded(state.row + along[0]);
    state.column = bounded(state.column + along[1]);
    drawMap();
  });
}
