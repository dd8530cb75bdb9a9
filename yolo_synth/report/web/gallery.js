// ---- figure 3

function makeGallery() {
  const blocks = new Map();
  D.pairs.forEach((pair, number) => {
    const name = title(pair);
    if (!blocks.has(name)) blocks.set(name, []);
    pair.small = element("canvas", {
      role: "img",
      "aria-label": `Heat map, ${name}, ${view(pair)}; mean of corresponding layers: ${means(pair)}`,
    });
    pair.small.addEventListener("click", () => { choosePair(number); $("bar").scrollIntoView(); });
    pair.small.addEventListener("pointermove", event => hover(pair, event));
    pair.small.addEventListener("pointerleave", () => { $("tip").hidden = true; });
    blocks.get(name).push(pair);
  });
  const probes = unique(D.pairs.map(pair => pair.probe));
  const order = (one, other) => probes.indexOf(one.probe) - probes.indexOf(other.probe) || one.size - other.size;
  const cell = pair => element("div", { class: "small" }, element("p", {}, view(pair)), pair.small);
  $("gallery").replaceChildren(...[...blocks].map(([name, pairs]) => element("div", { class: "pair" }, element("h3", {}, name),
    element("div", {}, ...pairs.sort(order).map(cell)), saving(`maps ${name}`, () => { drawBlock(name, pairs); drawKey(); }))));
  const all = () => { blocks.forEach((pairs, name) => drawBlock(name, pairs)); drawKey(); };
  $("gallery").after(saving("all maps", all, "all maps"));
}

// As a file: the maps of a pair in a row, each under what its networks were shown.
function drawBlock(name, pairs) {
  const [width] = galleryWidths();
  drawWords(`${name}, ${measureName(state.measure)}`);
  beside(() => pairs.forEach(pair => drawWords(view(pair), D.faint, 0, width)));
  beside(() => pairs.forEach(pair => drawSmall(pair, width)));
}

const SMALL = { ribbon: 7, curve: 34 };

// Widths of a small map and of a pair's block: as many blocks beside each other as eight maps allow.
function galleryWidths() {
  const room = $("gallery").clientWidth, views = Math.min(8, new Set(D.pairs.map(view)).size);
  if (room < 600) return [Math.floor((room - 16) / 3), room];
  const blocks = Math.floor(8 / views), gaps = 22.4 * (blocks - 1) + 8 * blocks * (views - 1);
  const width = Math.floor((room - gaps) / (blocks * views));
  return [width, width * views + 8 * (views - 1)];
}

function drawSmall(pair, width) {
  const { ribbon, curve: high } = SMALL, length = width - ribbon - 1;
  const diagonal = compared(pair);
  const c = fit(pair.small, width, length + ribbon + 2 + (diagonal ? high : 0));
  const x = scale(ribbon + 1, length), y = scale(length, -length);
  pair.smallScale = { x, y, width };
  drawCells(c, pair[state.measure], ribbon + 1, 0, length);
  drawBorders(c, x, y, .8, .25);
  drawBars(c, y, ribbon / 2, ribbon, true);
  drawBars(c, x, length + 1 + ribbon / 2, ribbon);
  if (!diagonal) return;
  const top = length + ribbon + 5, bottom = top + high - 5;
  const tall = value => bottom - Math.max(0, value) * (bottom - top);
  drawGuides(c, x, top, bottom);
  const chance = pair.row.null;
  if (chance && state.measure === MAIN) band(c, x, tall, chance.map(value => value * 0), chance, D.shade);
  const values = pair.row[state.measure];
  line(c, curve(values, x, tall), D.ink, 1.1);
  line(c, [[x.edge(0), bottom], [x.edge(N), bottom]], D.faint, .8);
}

function hover(pair, event) {
  const box = pair.small.getBoundingClientRect(), { x, y, width } = pair.smallScale;
  const ratio = width / box.width;
  const column = x.layer((event.clientX - box.left) * ratio);
  const below = (event.clientY - box.top) * ratio > y.edge(0) + SMALL.ribbon;
  const row = below ? column : y.layer((event.clientY - box.top) * ratio), at = row * N + column;
  const note = text => element("span", {}, text), stop = () => element("br");
  const layers = below ? [note("Both: "), describe(column, pair.size), stop()] :
    [note(`${pair.first}: `), describe(row, pair.size), stop(), note(`${pair.second}: `), describe(column, pair.size), stop()];
  showTip(event, ...layers,
    ...D.measures.flatMap(([name, words]) => [note(`${words} `), element("b", {}, digits(pair[name][at])), "  "]));
}

function showTip(event, ...content) {
  const tip = $("tip");
  tip.replaceChildren(...content);
  tip.hidden = false;
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const above = event.clientY + 18 + tip.offsetHeight > window.innerHeight;
  tip.style.transform = `translate(${Math.max(8, left)}px, ${above ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18}px)`;
}

function drawGallery() {
  const [width, block] = galleryWidths();
  $("gallery").style.setProperty("--cell", `${width}px`);
  $("gallery").style.setProperty("--block", `${block}px`);
  for (const pair of D.pairs) drawSmall(pair, width);
}

function makeKey() {
  const canvas = element("canvas", { role: "img", "aria-label": "Colours: black below 0, then from dark violet at 0 over green to yellow at 1; hatched where not defined" });
  drawKey(canvas);
  return element("div", { class: "scale" }, canvas);
}

function drawKey(canvas) {
  const c = fit(canvas, 250, 28), start = 46, end = 186;
  c.fillStyle = "#000";
  c.fillRect(14, 0, 18, 12);
  for (let i = 0; i < 140; i++) { c.fillStyle = `rgb(${colourOf(i / 140)})`; c.fillRect(start + i, 0, 1.4, 12); }
  c.fillStyle = hatch(c);
  c.fillRect(212, 0, 18, 12);
  write(c, "< 0", 23, 25, { size: 10.5 });
  for (const value of [0, .5, 1]) write(c, value, start + value * (end - start), 25, { size: 10.5 });
  write(c, "undefined", 221, 25, { size: 10.5 });
}
