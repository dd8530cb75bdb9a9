// ---- figures as files: the same drawing, recorded as SVG or put together as PNG

// A drawing surface that writes SVG: as much of a canvas's interface as the drawings above use.
class SvgSurface {
  constructor(width, height) {
    Object.assign(this, { width, height, parts: [], path: "", shift: "", saved: [], dash: [], lineWidth: 1 });
    this.ruler = element("canvas").getContext("2d");
  }
  put(tag, attributes, text = "") {
    const listed = Object.entries(attributes).map(([name, value]) => ` ${name}="${String(value).replace(/"/g, "&quot;")}"`);
    const escaped = String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
    this.parts.push(`<${tag}${listed.join("")}${this.shift && ` transform="${this.shift}"`}>${escaped}</${tag}>`);
  }
  get pen() {
    return { fill: "none", stroke: this.strokeStyle, "stroke-width": this.lineWidth, "stroke-linejoin": "round",
      ...this.dash.length ? { "stroke-dasharray": this.dash } : {} };
  }
  setLineDash(dash) { this.dash = dash; }
  measureText(text) { this.ruler.font = this.font; return this.ruler.measureText(text); }
  beginPath() { this.path = ""; }
  moveTo(x, y) { this.path += `M${round(x)} ${round(y)}`; }
  lineTo(x, y) { this.path += `${this.path ? "L" : "M"}${round(x)} ${round(y)}`; }
  bezierCurveTo(...xy) { this.path += `C${xy.map(round).join(" ")}`; }
  rect(x, y, w, h) { this.path += `M${round(x)} ${round(y)}h${round(w)}v${round(h)}h${round(-w)}Z`; }
  arc(x, y, r) { this.path += `M${round(x - r)} ${round(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`; }
  closePath() { this.path += "Z"; }
  stroke() { this.put("path", { d: this.path, ...this.pen }); }
  fill() { this.put("path", { d: this.path, fill: this.fillStyle }); }
  clip() {}  // values are held within their panel before they are drawn
  fillRect(x, y, w, h) { this.beginPath(); this.rect(x, y, w, h); this.fill(); }
  strokeRect(x, y, w, h) { this.beginPath(); this.rect(x, y, w, h); this.stroke(); }
  fillText(text, x, y) {
    const anchor = { center: "middle", right: "end" }[this.textAlign] || "start";
    this.put("text", { x: round(x), y: round(y), fill: this.fillStyle, "text-anchor": anchor, style: `font:${this.font}` }, text);
  }
  save() { this.saved.push(this.shift); }
  restore() { this.shift = this.saved.pop(); }
  translate(x, y) { this.shift += `translate(${x} ${y})`; }
  rotate(angle) { this.shift += `rotate(${angle * 180 / Math.PI})`; }
  createPattern() { return D.shade; }
  drawImage(image, x, y, width, height) {
    this.put("image", { x, y, width, height, href: image.toDataURL(), style: "image-rendering:pixelated", preserveAspectRatio: "none" });
  }
}

const round = value => Math.round(value * 100) / 100;

const MARGIN = 12;

// Where the drawings of a saved figure stand: one below the other, those of `beside` in rows.
class Sheet {
  constructor(make) { Object.assign(this, { make, placed: [], width: 0, height: MARGIN, left: 0, top: 0, inRow: false }); }
  startRow() { Object.assign(this, { left: MARGIN, top: this.height }); }
  add(width, height) {
    if (!this.inRow || this.left + width > $("figures").clientWidth + MARGIN + 1) this.startRow();
    const surface = this.make(width, height), { left, top } = this;
    this.placed.push({ surface, left, top });
    this.width = Math.max(this.width, left + width);
    this.height = Math.max(this.height, top + height);
    this.left += width + 8;
    return surface;
  }
}

function beside(draw) {
  fit.sheet.startRow();
  fit.sheet.inRow = true;
  draw();
  fit.sheet.inRow = false;
}

// Draw onto surfaces of their own instead of the page's canvases.
function record(make, draw) {
  const sheet = fit.sheet = new Sheet(make);
  try { draw(); } finally { fit.sheet = null; }
  return { placed: sheet.placed, width: sheet.width + MARGIN, height: sheet.height + MARGIN };
}

function textWidth(text, size) {
  const c = element("canvas").getContext("2d");
  c.font = `${size}px ${FONT}`;
  return Math.ceil(c.measureText(text).width);
}

function drawWords(text, colour = D.ink, left = 0, width = left + textWidth(text, 12) + 2) {
  write(fit(null, width, 20), text, left, 15, { align: "left", colour, size: 12 });
}

function drawLegend(list) {
  beside(() => {
    for (const [text, draw] of list.entries) {
      const c = fit(null, textWidth(text, 12) + 46, 20);
      draw(c);
      write(c, text, 36, 11, { align: "left", size: 12 });
    }
  });
}

function asSvg(draw) {
  const { width, height, placed } = record((...size) => new SvgSurface(...size), draw), name = "http:" + "//www.w3.org/2000/svg";
  const groups = placed.map(({ surface, left, top }) => `<g transform="translate(${left} ${top})">${surface.parts.join("")}</g>`);
  return `<svg xmlns="${name}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
    `<rect width="${width}" height="${height}" fill="#fff"/>${groups.join("")}</svg>`;
}

const LONGEST = 16000;  // pixels of a canvas's side that all browsers can have

function asPng(draw) {
  const ratio = Math.max(2, window.devicePixelRatio || 1);
  const { width, height, placed } = record((...size) => prepare(element("canvas"), ...size, ratio), draw);
  const step = Math.min(ratio, LONGEST / width, LONGEST / height);
  const whole = element("canvas", { width: Math.floor(width * step), height: Math.floor(height * step) }), c = whole.getContext("2d");
  c.fillStyle = "#fff";
  c.fillRect(0, 0, whole.width, whole.height);
  for (const { surface: { canvas }, left, top } of placed)
    c.drawImage(canvas, left * step, top * step, canvas.width * step / ratio, canvas.height * step / ratio);
  return new Promise(resolve => whole.toBlob(resolve, "image/png"));
}

function save(blob, name) {
  const link = element("a", { download: name.replace(/[^\w.-]+/g, "_"), href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Two buttons that save a figure, which `draw` draws anew.
function saving(name, draw, what = "") {
  const button = (text, saved) => {
    const made = element("button", { type: "button", "aria-label": `Save ${name} as ${text}` }, text);
    made.addEventListener("click", saved);
    return made;
  };
  return element("p", { class: "saving" }, `Save ${what ? `${what} ` : ""}as `,
    button("SVG", () => save(new Blob([asSvg(draw)], { type: "image/svg+xml" }), `${name}.svg`)),
    button("PNG", async () => save(await asPng(draw), `${name}.png`)));
}
