// ---- start

function makeControls() {
  const pairs = D.pairs.filter(compared);
  const probes = unique(pairs.map(pair => pair.probe)), sizes = unique(pairs.map(pair => pair.size)).sort((a, b) => a - b);
  state.probe = probes[0] ?? D.pairs[0].probe;
  const alike = pair => pair.runs.startsWith("seed"), across = pairs.filter(pair => !alike(pair));
  const runs = unique([...pairs.filter(alike), ...across].map(pair => pair.runs));
  state.size = sizes[0] ?? D.pairs[0].size;
  state.runs = runs[0] ?? "";
  $("views").append(
    choice("probe", probes.map(probe => [probe, probe]), "Probe images", state.probe, value => { state.probe = value; showTracks(); }),
    choice("size", sizes.map(size => [size, `${size} px`]), "Size", state.size, value => { state.size = value; showTracks(); }));
  if (runs.length > 1)
    $("views").append(choice("runs", runs.map(name => [name, name]), "Runs", state.runs, value => { state.runs = value; showTracks(); }));
  $("bar").append(
    choice("measure", D.measures, "Shown", state.measure,
      value => { state.measure = value; drawMap(); drawGallery(); }),
    makeKey());
  const groups = new Map();
  D.pairs.forEach((pair, number) => {
    if (!groups.has(view(pair))) groups.set(view(pair), element("optgroup", { label: view(pair) }));
    groups.get(view(pair)).append(element("option", { value: number }, `${title(pair)} \u2014 ${view(pair)}`));
  });
  $("picker").append(...groups.values());
  $("picker").addEventListener("change", event => choosePair(Number(event.target.value)));
}

function describeStudy() {
  const list = values => values.join(", ").replace(/, ([^,]*)$/, " and $1");
  const sizes = unique(D.pairs.map(pair => pair.size)).sort((a, b) => a - b);
  const images = unique(D.pairs.map(pair => pair.images)).sort((a, b) => a - b);
  $("scope").textContent = `${D.networks} networks of ${N} layers, compared on ${list(images)} ` +
    `${list(unique(D.pairs.map(pair => pair.probe.toLowerCase())))} images of ${list(sizes)} pixels; ${D.pairs.length} comparisons.`;
  $("precision").textContent = `In this page values are rounded to ${D.precision}.`;
}

async function start() {
  readSeries(await unpack("series"));
  readMatrices(await unpack("packed"));
  $("figures").hidden = $("maps").hidden = false;
  describeStudy();
  makeControls();
  makeLegends();
  makeGallery();
  makeTracks();
  makeCurves();
  listenToTracks();
  listenToMap();
  const number = D.pairs.findIndex(pair => compared(pair) && pair.probe === state.probe && pair.size === state.size);
  state.pair = D.pairs[Math.max(0, number)];
  $("picker").value = Math.max(0, number);
  $("numbers").addEventListener("toggle", fillNumbers);
  $("track-legend").after(saving("tracks", drawNamedTracks));
  $("map").after(saving("map", drawNamedMap));
  let width = 0;
  new ResizeObserver(() => {
    if (width === document.body.clientWidth) return;
    width = document.body.clientWidth;
    drawTracks();
    drawMap();
    drawGallery();
    pictures.forEach(drawPicture);
    document.body.dataset.ready = "";
  }).observe(document.body);
}

if (D.pairs.length) start().catch(error => {
  $("failed").textContent = `The figures could not be drawn: ${error.message}. A browser of 2023 or later can.`;
  $("failed").hidden = false;
  console.error(error);
});
