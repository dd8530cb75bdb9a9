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
  createPattern() { return "#D9DCDF"; }
  drawImage(image, x, y, width, height) {
    this.put("image", { x, y, width, height, href: image.toDataURL(), style: "image-rendering:pixelated", preserveAspectRatio: "none" });
  }
}

const round = value => Math.round(value * 100) / 100;

// Draw onto SVG surfaces instead of canvases and return the whole, one below the other.
function asSvg(draw) {
  fit.surfaces = [];
  try { draw(); } finally { var surfaces = fit.surfaces; fit.surfaces = null; }
  let top = 0;
  const groups = surfaces.map(({ height, parts }) => {
    top += height;
    return `<g transform="translate(0 ${top - height})">${parts.join("")}</g>`;
  });
  const width = Math.max(...surfaces.map(surface => surface.width)), name = "http:" + "//www.w3.org/2000/svg";
  return `<svg xmlns="${name}" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}">` +
    `<rect width="${width}" height="${top}" fill="#fff"/>${groups.join("")}</svg>`;
}

// Put canvases below each other on white.
function asPng(canvases) {
  const whole = element("canvas", {
    width: Math.max(...canvases.map(one => one.width)), height: canvases.reduce((sum, one) => sum + one.height, 0) });
  const c = whole.getContext("2d");
  c.fillStyle = "#fff";
  c.fillRect(0, 0, whole.width, whole.height);
  let top = 0;
  for (const one of canvases) { c.drawImage(one, 0, top); top += one.height; }
  return new Promise(resolve => whole.toBlob(resolve, "image/png"));
}

function save(blob, name) {
  const link = element("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Two buttons that save a figure: `draw` draws it anew, `canvases` are those that show it now.
function saving(name, draw, canvases) {
  const button = (text, saved) => {
    const made = element("button", { type: "button", "aria-label": `Save this figure as ${text}` }, text);
    made.addEventListener("click", saved);
    return made;
  };
  return element("p", { class: "saving" }, "Save as ",
    button("SVG", () => { save(new Blob([asSvg(draw)], { type: "image/svg+xml" }), `${name}.svg`); draw(); }),
    button("PNG", async () => save(await asPng(canvases()), `${name}.png`)));
}
