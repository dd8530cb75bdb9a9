// ---- drawing

function fit(canvas, width, height) {
  return fit.sheet ? fit.sheet.add(width, height) : prepare(canvas, width, height, window.devicePixelRatio || 1);
}

function prepare(canvas, width, height, ratio) {
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.textBaseline = "alphabetic";
  return c;
}

function write(c, text, x, y, { size = 11, align = "center", colour = D.ink, weight = "" } = {}) {
  c.font = `${weight} ${size}px ${FONT}`;
  c.textAlign = align;
  c.fillStyle = colour;
  c.fillText(text, x, y);
}

function line(c, points, colour, width = 1, dash = []) {
  c.beginPath();
  let pen = false;
  for (const [x, y] of points) {
    if (Number.isNaN(y)) pen = false;
    else if (pen) c.lineTo(x, y);
    else { c.moveTo(x, y); pen = true; }
  }
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.setLineDash(dash);
  c.lineJoin = "round";
  c.stroke();
  c.setLineDash([]);
}

function mark(c, marker, x, y, size, colour, edge) {
  c.beginPath();
  if (marker === "o") c.arc(x, y, size / 2, 0, 7);
  else if (marker === "s") c.rect(x - size / 2, y - size / 2, size, size);
  else {
    const r = size * .65;
    c.moveTo(x, y - r);
    c.lineTo(x + r, marker === "D" ? y : y + r * .8);
    if (marker === "D") c.lineTo(x, y + r);
    c.lineTo(x - r, marker === "D" ? y : y + r * .8);
    c.closePath();
  }
  c.fillStyle = colour;
  c.fill();
  if (edge) { c.strokeStyle = edge; c.lineWidth = .8; c.stroke(); }
}

// Pixels of a row of layers from `left` over `width`.
function scale(left, width) {
  const step = width / N;
  const x = layer => left + (layer + .5) * step;
  x.edge = layer => left + layer * step;
  x.step = step;
  x.layer = pixel => Math.min(N - 1, Math.max(0, Math.floor((pixel - left) / step)));
  return x;
}

// From one layer that is numbered along an axis to the next.
const every = x => N <= 20 ? 1 : x.step < 4 ? 20 : 10;

function drawBars(c, x, middle, height, vertical = false) {
  const same = (one, other) => S.kinds[one] === S.kinds[other] && S.thickness[one] === S.thickness[other];
  for (let layer = 0, end; layer < N; layer = end) {
    // Equal neighbours are one bar, so that no seams show.
    for (end = layer + 1; end < N && same(layer, end);) end++;
    const length = S.thickness[layer] * height, span = x.edge(end) - x.edge(layer);
    c.fillStyle = D.kindColours[S.kinds[layer]];
    if (vertical) c.fillRect(middle - length / 2, x.edge(layer), length, span);
    else c.fillRect(x.edge(layer), middle - length / 2, span, length);
  }
}

function drawParts(c, x, y) {
  for (const [name, start, end] of [["backbone", 0, S.backboneEnd], ["head", S.backboneEnd, N]]) {
    if (start === end) continue;
    line(c, [[x.edge(start) + .5, y], [x.edge(end) - .5, y]], D.ink, 2.5);
    const long = `${name}, layers ${start}\u2013${end - 1}`;
    c.font = `11.5px ${FONT}`;
    const text = c.measureText(long).width < x.edge(end) - x.edge(start) - 8 ? long : name;
    write(c, text, (x.edge(start) + x.edge(end)) / 2, y - 5, { size: 11.5 });
  }
}

function drawScales(c, x, y, size) {
  for (const [start, end] of S.regions) {
    const gap = Math.min(1, x.step * .15), text = String(side(start, size));
    line(c, [[x.edge(start) + gap, y], [x.edge(end) - gap, y]], D.faint, 1.5);
    c.font = `11px ${FONT}`;
    if (c.measureText(text).width < x.edge(end) - x.edge(start))
      write(c, text, (x.edge(start) + x.edge(end)) / 2, y - 4);
  }
}

function drawArcs(c, x, middle, unit, top) {
  const edge = layer => middle - S.thickness[layer] / 2 * unit;
  const longest = Math.max(...S.skips.map(([source, layer]) => layer - source));
  for (const [source, layer] of S.skips) {
    const base = Math.min(edge(source), edge(layer));
    const control = base + (top - base) * Math.sqrt((layer - source) / longest) * 4 / 3;
    const kind = S.kinds[layer];
    c.beginPath();
    c.moveTo(x(source), edge(source));
    c.bezierCurveTo(x(source), control, x(layer), control, x(layer), edge(layer));
    c.strokeStyle = D.kindColours[kind];
    c.lineWidth = kind === "shortcut" ? 1 : 1.6;
    c.stroke();
  }
}

function drawMarks(c, x, y) {
  const size = Math.min(7, Math.max(3.5, x.step * .85));
  S.kinds.forEach((kind, layer) => {
    const marker = D.kindMarkers[kind];
    if (marker) mark(c, marker, x(layer), y, kind === "shortcut" ? size * .75 : size, D.kindColours[kind]);
  });
}
