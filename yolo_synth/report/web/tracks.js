// ---- figure 1

const state = { probe: "", size: 0, runs: "", layer: -1, measure: MAIN, pair: null, row: -1, column: -1 };
const unique = values => [...new Set(values)];
let gutter, trackScale, shown = [];

function layOut() {
  const width = $("browser").clientWidth;
  gutter = width < 600 ? 26 : 62;
  trackScale = scale(gutter, width - gutter - 6);
}

function drawRibbon() {
  const wide = gutter > 50, width = $("browser").clientWidth;
  const thick = wide ? 50 : 36, middle = 63 + thick / 2, below = middle + thick / 2 + 13;
  const c = fit($("ribbon"), width, below + 42), x = trackScale;
  drawParts(c, x, 21);
  drawArcs(c, x, middle, thick, 27);
  drawBars(c, x, middle, thick);
  drawMarks(c, x, below);
  drawScales(c, x, below + 34, state.size);
  if (wide) write(c, "map side", gutter - 6, below + 30, { align: "right" });
}

function makeTracks() {
  const seen = D.pairs.filter(pair => compared(pair) && pair.probe === state.probe && pair.size === state.size);
  shown = seen.filter(pair => pair.runs === state.runs);
  if (!shown.length) shown = seen;
  $("tracks").replaceChildren(...shown.map((pair, number) => {
    pair.colour = D.trackColours[number % D.trackColours.length];
    pair.now = element("span", { class: "now" });
    pair.canvas = element("canvas", {
      role: "img",
      "aria-label": `${D.measures[0][1]} of corresponding layers, ${title(pair)}, ${view(pair)}; mean ${means(pair)}`,
    });
    pair.dot = element("div", { class: "dot", style: `background: ${pair.colour}`, hidden: "" });
    const header = element("header", {},
      element("span", { class: "name", style: `border-color: ${pair.colour}` }, title(pair)),
      pair.now, element("span", { class: "mean" }, `mean: ${means(pair)}`));
    return element("div", { class: "track" }, header, pair.canvas, pair.dot);
  }));
}

// What lies lower is drawn at the foot: rare values of one curve would flatten all the others.
const LOWEST = -.4;

function lowest(pairs) {
  let least = 0;
  for (const pair of pairs)
    for (const { name, draw } of D.rows)
      for (const value of draw && pair.row[name] || []) if (value < least) least = value;
  return least < 0 ? Math.max(LOWEST, Math.floor(10 * least - .2) / 10) : 0;
}

function band(c, x, y, low, high, colour) {
  c.fillStyle = colour;
  for (let start = 0; start < N; start++) {
    let end = start;
    while (end < N && !Number.isNaN(low[end]) && !Number.isNaN(high[end])) end++;
    if (end === start) continue;
    c.beginPath();
    for (let i = start; i < end; i++) c.lineTo(x(i), y(high[i]));
    for (let i = end - 1; i >= start; i--) c.lineTo(x(i), y(low[i]));
    // A single layer between gaps has no area: it gets a bar.
    if (end === start + 1) c.rect(x(start) - x.step / 2, y(high[start]), x.step, y(low[start]) - y(high[start]));
    c.fill();
    start = end;
  }
}

const alpha = (colour, opacity) => colour + Math.round(opacity * 255).toString(16).padStart(2, "0");
const curve = (values, x, y) => Array.from(values, (value, layer) => [x(layer), y(value)]);

function drawGuides(c, x, top, bottom) {
  c.fillStyle = D.headShade;
  if (S.backboneEnd < N) c.fillRect(x.edge(S.backboneEnd), top, x.edge(N) - x.edge(S.backboneEnd), bottom - top);
  for (const [start] of S.regions.slice(1))
    line(c, [[x.edge(start), top], [x.edge(start), bottom]], "#DADDE0", .7);
}

// One of the rows that D.rows names: an area up to it, the band up to another one, or a line.
function drawRow(c, { name, to, draw, colour, width, dash = [] }, rows, own, x, y, floor) {
  const values = rows[name];
  if (!values || !draw) return;
  if (draw === "band") band(c, x, y, values, rows[to], alpha(own, .22));
  else if (draw === "area") {
    // value * 0 keeps what is not defined NaN, so that the area has the curve's gaps.
    band(c, x, y, values.map(value => value * 0 + floor), values, D.shade);
    line(c, curve(values, x, y), D.faint, .9);
  } else line(c, curve(values, x, y), colour || own, width, dash);
}

function drawTrack(pair, floor) {
  const width = $("browser").clientWidth, height = 92, x = trackScale, top = 5, bottom = height - 6;
  const c = fit(pair.canvas, width, height);
  const y = pair.y = value => bottom - (Math.max(floor, Math.min(value, 1.2)) - floor) / (1.02 - floor) * (bottom - top);
  drawGuides(c, x, top, bottom);
  c.save();
  c.beginPath();
  c.rect(gutter, 0, width - gutter, bottom);
  c.clip();
  if (floor < 0) line(c, [[gutter, y(0)], [width - 6, y(0)]], D.faint, .8);
  for (const row of D.rows) drawRow(c, row, pair.row, pair.colour, x, y, floor);
  c.restore();
  S.kinds.forEach((kind, layer) => {
    const marker = D.kindMarkers[kind], value = pair.row[MAIN][layer];
    if (Number.isNaN(value)) line(c, [-1, 1, NaN, -1, 1].map((d, i) => [x(layer) + 3 * d, d ? bottom - 3 + (i < 2 ? 3 : -3) * d : NaN]), pair.colour, 1.4);
    else if (marker && kind !== "upsample") {
      const size = Math.min(kind === "shortcut" ? 5 : 7.5, x.step * (kind === "shortcut" ? .9 : 1.6) + 1);
      mark(c, marker, x(layer), y(value), size, pair.colour, "#fff");
    }
  });
  line(c, [[gutter, top], [gutter, bottom], [width - 6, bottom]], D.ink, .8);
  const ticks = floor < 0 ? [floor, 0, 1].filter(value => !value || Math.abs(y(value) - y(0)) > 11) : [0, .5, 1];
  for (const value of ticks) {
    line(c, [[gutter - 3, y(value)], [gutter, y(value)]], D.ink, .8);
    write(c, digits(value, value % 1 ? 1 : 0), gutter - 5, y(value) + 3.5, { size: 10.5, align: "right" });
  }
}

function drawLayers(c, x, top) {
  for (let layer = 0; layer < N; layer += every(x)) {
    line(c, [[x(layer), top], [x(layer), top + 4]], D.ink, .8);
    write(c, layer, x(layer), top + 15);
  }
}

function drawAxis() {
  const c = fit($("axis"), $("browser").clientWidth, 20), x = trackScale;
  drawLayers(c, x, 0);
  if (gutter > 50) write(c, "layer", gutter - 12, 15, { align: "right" });
}

function numbersNow(pair, layer) {
  const parts = [], read = name => digits(pair.row[name][layer]);
  for (const { name, to, short } of D.rows) {
    const value = pair.row[name]?.[layer] ?? NaN;
    if (Number.isNaN(value) || name === MAIN) continue;
    if (to) parts.unshift(`[${read(name)}, ${read(to)}]`);
    else parts.push(name === "p" && value < D.trackPrecision ? `p < ${D.trackPrecision}` : `${short} ${read(name)}`);
  }
  return [read(MAIN), parts.join("  \u00b7  ")];
}

function point(layer) {
  state.layer = layer;
  const none = layer < 0;
  for (const cursor of document.querySelectorAll(".cursor")) {
    cursor.hidden = none;
    if (!none) cursor.style.transform = `translateX(${trackScale(layer) - .5}px)`;
  }
  const size = state.size;
  if (none) $("where").textContent = "";
  else {
    const cells = side(layer, size);
    $("where").replaceChildren(element("b", {}, `Layer ${layer}`),
      `  ${kindName(layer)}${reads(layer)}  \u00b7  ${part(layer)}  \u00b7  ${cells}\u00d7${cells} cells at ${size} px`);
  }
  for (const pair of shown) {
    pair.dot.hidden = none || Number.isNaN(pair.row[MAIN][layer]);
    if (none) { pair.now.textContent = ""; continue; }
    const [value, rest] = numbersNow(pair, layer);
    pair.now.replaceChildren(element("b", {}, value), "  " + rest);
    pair.dot.style.left = `${trackScale(layer)}px`;
    pair.dot.style.top = `${pair.canvas.offsetTop + pair.y(pair.row[MAIN][layer])}px`;
  }
  const ribbon = $("ribbon"), at = Math.max(layer, 0);
  ribbon.setAttribute("aria-valuenow", at);
  ribbon.setAttribute("aria-valuetext", `${describe(at, size)}; ` +
    shown.map(pair => `${title(pair)} ${digits(pair.row[MAIN][at])}`).join("; "));
}

const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -N, End: N };
const bounded = layer => Math.min(N - 1, Math.max(0, layer));

function listenToTracks() {
  const browser = $("browser"), ribbon = $("ribbon");
  Object.entries({ role: "slider", "aria-label": "Layer that the tracks are read at", "aria-valuemin": 0, "aria-valuemax": N - 1 })
    .forEach(([name, value]) => ribbon.setAttribute(name, value));
  const follow = event => point(trackScale.layer(event.clientX - browser.getBoundingClientRect().left));
  browser.addEventListener("pointermove", follow);
  browser.addEventListener("pointerdown", event => { follow(event); ribbon.focus({ preventScroll: true }); event.preventDefault(); });
  ribbon.addEventListener("keydown", event => {
    if (event.key === "Escape") point(-1);
    else if (event.key in moves) point(bounded(state.layer + moves[event.key]));
    else return;
    event.preventDefault();
  });
}

function drawTracks() {
  layOut();
  drawRibbon();
  const floor = lowest(shown);
  shown.forEach(pair => drawTrack(pair, floor));
  drawAxis();
  point(state.layer);
}

// As a file: with names and legends, which are text in the page.
function drawNamedTracks() {
  layOut();
  drawRibbon();
  const floor = lowest(shown);
  for (const pair of shown) {
    drawWords(`${title(pair)}, ${view(pair)}; mean: ${means(pair)}`, pair.colour, gutter);
    drawTrack(pair, floor);
  }
  drawAxis();
  drawLegend($("kind-legend"));
  drawLegend($("track-legend"));
}

function fillNumbers() {
  if (!$("numbers").open) return;
  const columns = D.rows.filter(({ name, label }) => label && name !== MAIN && shown.some(pair => pair.row[name]));
  const head = element("tr", {}, element("th", { class: "name" }, "layer"), element("th", { class: "name" }, "kind"),
    ...shown.flatMap(pair => [title(pair), ...columns.map(row => row.label)].map(text => element("th", { scope: "col" }, text))));
  const rows = S.kinds.map((kind, layer) => element("tr", {},
    element("th", { scope: "row" }, String(layer)), element("td", { class: "text" }, kindName(layer)),
    ...shown.flatMap(({ row }) => [digits(row[MAIN][layer]), ...columns.map(({ name, to }) =>
      !row[name] || Number.isNaN(row[name][layer]) ? "\u2013" :
        to ? `${digits(row[name][layer])} to ${digits(row[to][layer])}` : digits(row[name][layer]))])
      .map(text => element("td", {}, text))));
  $("numbers").lastElementChild.replaceChildren(
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

// ---- legends and choices

function legend(list, entries) {
  list.entries = entries;
  list.replaceChildren(...entries.map(([text, draw]) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    draw(fit(canvas, 30, 14));
    return element("li", {}, canvas, text);
  }));
}

function makeLegends() {
  legend($("kind-legend"), Object.entries(D.kindColours).map(([kind, colour]) => [
    D.kindNames[kind] || kind,
    c => {
      c.fillStyle = colour;
      const marker = D.kindMarkers[kind];
      c.fillRect(marker ? 4 : 12, 1, 6, 12);
      if (marker) mark(c, marker, 21, 7, kind === "shortcut" ? 6 : 7.5, colour);
    },
  ]));
  const pairs = D.pairs.filter(compared), own = D.trackColours[0];
  const rows = D.rows.filter(({ name, draw }) => draw && pairs.some(pair => pair.row[name]));
  legend($("track-legend"), [
    ...rows.reverse().map(({ label, draw, colour, width, dash }) => [label, c => {
      if (draw === "band") { c.fillStyle = alpha(own, .22); c.fillRect(1, 2, 28, 10); }
      else if (draw === "area") { c.fillStyle = D.shade; c.fillRect(1, 5, 28, 8); line(c, [[1, 5], [29, 5]], D.faint, 1); }
      else line(c, [[1, 7], [29, 7]], colour || own, width, dash);
    }]),
    ...pairs.some(pair => pair.row[MAIN].some(Number.isNaN)) ?
      [["not defined", c => { line(c, [[12, 4], [18, 10]], own, 1.4); line(c, [[18, 4], [12, 10]], own, 1.4); }]] : [],
  ]);
}

function choice(name, values, label, current, changed) {
  const options = values.map(([value, text]) => {
    const input = element("input", { type: "radio", name, value });
    input.checked = value === current;
    input.addEventListener("change", () => changed(value));
    return element("label", {}, input, element("span", {}, text));
  });
  return element("fieldset", {}, element("legend", {}, label), element("div", { class: "choice" }, ...options));
}

function showTracks() {
  makeTracks();
  drawTracks();
  fillNumbers();
}
