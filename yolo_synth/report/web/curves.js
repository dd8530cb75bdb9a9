// ---- curves: a picture of lines over the layers, as many as a section has

const unpacked = values => Float32Array.from(values, value => value ?? NaN);
const pictures = [];

function makeCurves() {
  for (const { key, curves } of D.sections)
    $(`curves-${key}`).replaceChildren(...curves.map(picture => makePicture(picture)));
}

function makePicture(picture) {
  const { lines } = picture, groups = unique(lines.map(one => one.group));
  for (const one of lines) {
    const number = groups.indexOf(one.group);
    one.values = unpacked(one.values);
    for (const row of ["null", "low", "high"]) one[row] = one[row] && unpacked(one[row]);
    one.colour = D.trackColours[number % D.trackColours.length];
    one.dash = lines.filter(other => other.group === one.group).indexOf(one) ? [4, 2.5] : [];
  }
  const list = element("ul", { class: "legend" });
  legend(list, lines.map(({ name, colour, dash }) => [name, c => line(c, [[1, 7], [29, 7]], colour, 1.8, dash)]));
  picture.canvas = element("canvas", { role: "img", "aria-label": `${picture.title}, by layer: ${lines.map(one => one.name).join(", ")}` });
  picture.canvas.addEventListener("pointermove", event => tellCurves(picture, event));
  picture.canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
  pictures.push(picture);
  return element("figure", {}, element("h3", {}, picture.title), picture.canvas, list,
    saving(picture.title, () => { drawWords(picture.title); drawPicture(picture); drawLegend(list); }));
}

function drawPicture(picture) {
  const { canvas, lines, distance } = picture;
  const width = canvas.parentElement.clientWidth, height = 220, top = 6, bottom = height - 24;
  const c = fit(canvas, width, height), x = picture.x = scale(gutter, width - gutter - 6);
  const values = lines.flatMap(one => [...one.values, ...one.low || [], ...one.high || []]).filter(value => !Number.isNaN(value));
  const most = Math.max(...values, .01), least = Math.min(0, ...values);
  const y = value => bottom - (value - least) / (most * 1.04 - least) * (bottom - top);
  drawGuides(c, x, top, bottom);
  const nulls = lines.map(one => one.null).filter(Boolean);
  const [further, end] = distance ? [Math.min, most * 1.04] : [Math.max, least];
  const known = layer => nulls.map(row => row[layer]).filter(value => !Number.isNaN(value));
  const chance = nulls.length && Float32Array.from(S.kinds, (_, layer) => known(layer).length ? further(...known(layer)) : NaN);
  drawRow(c, { name: "chance", draw: "area" }, { chance }, "", x, y, end);
  for (const one of lines) drawRow(c, { name: "low", to: "high", draw: "band" }, one, one.colour, x, y);
  for (const one of lines) line(c, curve(one.values, x, y), one.colour, 1.6, one.dash);
  line(c, [[gutter, top], [gutter, bottom], [width - 6, bottom]], D.ink, .8);
  const step = 10 ** Math.floor(Math.log10(most)) * (most / 10 ** Math.floor(Math.log10(most)) > 4 ? 2 : .5);
  for (let value = 0; value <= most; value += step) {
    line(c, [[gutter - 3, y(value)], [gutter, y(value)]], D.ink, .8);
    write(c, digits(value, Math.max(0, -Math.floor(Math.log10(step)))), gutter - 5, y(value) + 3.5, { size: 10.5, align: "right" });
  }
  drawLayers(c, x, bottom);
}

function tellCurves({ canvas, x, size, lines }, event) {
  const box = canvas.getBoundingClientRect(), layer = x.layer(event.clientX - box.left);
  showTip(event, describe(layer, size), ...lines.flatMap(({ name, values, low, high }) =>
    [element("br"), element("span", {}, `${name} `), element("b", {}, digits(values[layer])),
      ...low && !Number.isNaN(low[layer]) ? [` [${digits(low[layer])}, ${digits(high[layer])}]`] : []]));
}
