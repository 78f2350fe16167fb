// A data map on a canvas: every sample is drawn, the nearest one is found through a grid, so tens of thousands stay smooth
// (benchmarks/browsing.py measures it).
// Shared by the report and by `thresher explore`. Colours are names of CSS variables, so a page's light and dark both hold.
"use strict";

const element = (name, attributes = {}, ...children) => {
  const made = name === "svg" || name === "path" || name === "line" || name === "text" || name === "circle"
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);  // strings become text, never markup
  return made;
};

// Sample ids by squares of 16 pixels, in one array: `ids` from start[c] to start[c + 1] lie in square c.
class Squares {
  constructor(width, height, ids, px, py) {
    this.across = (width >> 4) + 1;
    this.down = (height >> 4) + 1;
    const square = i => Math.max(0, py[i] >> 4) * this.across + Math.max(0, px[i] >> 4);
    this.start = new Int32Array(this.across * this.down + 1);
    for (const i of ids) this.start[square(i) + 1]++;
    for (let c = 1; c < this.start.length; c++) this.start[c] += this.start[c - 1];
    const next = this.start.slice();
    this.ids = new Int32Array(ids.length);
    for (const i of ids) this.ids[next[square(i)]++] = i;
  }

  // Ids within `around` squares of the one that holds a pixel.
  *near(px, py, around) {
    const [cx, cy] = [px >> 4, py >> 4];
    for (let y = Math.max(0, cy - around); y <= Math.min(this.down - 1, cy + around); y++) {
      for (let x = Math.max(0, cx - around); x <= Math.min(this.across - 1, cx + around); x++) {
        const c = y * this.across + x;
        for (let k = this.start[c]; k < this.start[c + 1]; k++) yield this.ids[k];
      }
    }
  }
}

// Small squares of colour, laid over one another in memory: for many points faster by far than a canvas's own rectangles.
class Stamps {
  constructor() {
    this.canvas = element("canvas");
  }

  clear(width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
      this.sheet = null;
    }
    this.sheet ||= this.canvas.getContext("2d").createImageData(width, height);
    this.sheet.data.fill(0);
  }

  // Lay a square of `size` device pixels around each of the samples; colour [red, green, blue] of 0 to 255.
  lay(ids, px, py, ratio, size, [red, green, blue], alpha) {
    const { data, width, height } = this.sheet;
    for (const i of ids) {
      const left = Math.round(px[i] * ratio - size / 2), top = Math.round(py[i] * ratio - size / 2);
      for (let y = Math.max(0, top); y < Math.min(height, top + size); y++) {
        for (let x = Math.max(0, left), at = 4 * (y * width + x); x < Math.min(width, left + size); x++, at += 4) {
          const under = data[at + 3] / 255 * (1 - alpha), all = alpha + under, part = alpha / all, rest = 1 - part;
          data[at] = red * part + data[at] * rest;
          data[at + 1] = green * part + data[at + 1] * rest;
          data[at + 2] = blue * part + data[at + 2] * rest;
          data[at + 3] = 255 * all;
        }
      }
    }
  }

  onto(pen, width, height) {
    this.canvas.getContext("2d").putImageData(this.sheet, 0, 0);
    pen.globalAlpha = 1;
    pen.drawImage(this.canvas, 0, 0, width, height);
  }
}

class DataMap {
  // box: an element to fill. points: {x, y} Float32Array, NaN where a sample was never seen. on: {hover, pick, lasso}.
  constructor(box, points, { xLabel, yLabel, pickable = null, on = {} }) {
    Object.assign(this, { box, xLabel, yLabel, pickable, on, x: points.x, y: points.y, n: points.x.length });
    this.base = element("canvas", { "aria-hidden": "true" });
    this.over = element("canvas", { "aria-hidden": "true" });
    box.append(this.base, this.over);
    this.colour = new Uint8Array(this.n);
    this.px = new Float32Array(this.n);  // pixels of every sample as last drawn
    this.py = new Float32Array(this.n);
    this.stamps = new Stamps();
    this.palette = ["accent"];
    this.faint = null;  // Uint8Array, 1 where a sample is not part of what is looked at
    let widest = 0.05;
    for (const value of this.x) if (value > widest) widest = value;
    this.whole = { left: -0.015 * widest, right: widest * 1.03, bottom: -0.03, top: 1.03 };
    this.view = { ...this.whole };
    this.hovered = this.picked = -1;
    this.path = [];
    this.lassoing = false;
    new ResizeObserver(() => this.layout()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.listen();
  }

  layout() {
    const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = this.box;
    if (!width || !height) return;
    Object.assign(this, { width, height, ratio, margin: { left: 44, right: 10, top: 10, bottom: 42 } });
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.draw();
  }

  // Pixels of a sample, in CSS pixels of the box.
  place(i) {
    const { left, right, bottom, top } = this.view, m = this.margin;
    return [
      m.left + (this.x[i] - left) / (right - left) * (this.width - m.left - m.right),
      m.top + (top - this.y[i]) / (top - bottom) * (this.height - m.top - m.bottom),
    ];
  }

  draw() {
    if (!this.width || this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.paint();
      this.paintOver();
    });
  }

  style(name) {
    return getComputedStyle(this.box).getPropertyValue("--" + name).trim();
  }

  // The same as [red, green, blue]: a canvas gives any opaque colour back as #rrggbb.
  rgb(pen, name) {
    pen.fillStyle = this.style(name);
    return [1, 3, 5].map(k => parseInt(pen.fillStyle.slice(k, k + 2), 16));
  }

  paint() {
    const pen = this.base.getContext("2d"), m = this.margin;
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    this.axes(pen);
    pen.save();
    pen.beginPath();
    pen.rect(m.left, m.top, this.width - m.left - m.right, this.height - m.top - m.bottom);
    pen.clip();
    const scale = Math.sqrt((this.whole.right - this.whole.left) / (this.view.right - this.view.left));
    const size = Math.min(7, (this.n > 20000 ? 1.8 : this.n > 4000 ? 2.6 : 4.6) * scale), half = size / 2;
    const { left, right, bottom, top } = this.view, { x, y, px, py, faint, colour } = this;  // as place() does, without its arrays
    const across = (this.width - m.left - m.right) / (right - left), up = (this.height - m.top - m.bottom) / (top - bottom);
    const order = this.palette.map(() => []), back = [], here = [];
    for (let i = 0; i < this.n; i++) {
      px[i] = m.left + (x[i] - left) * across;
      py[i] = m.top + (top - y[i]) * up;
      if (!(px[i] >= m.left - 4 && px[i] <= this.width && py[i] >= 0 && py[i] <= this.height - m.bottom + 4)) continue;
      if (faint && faint[i]) {
        back.push(i);
      } else {
        order[colour[i]].push(i);
        here.push(i);
      }
    }
    this.cells = new Squares(this.width, this.height, here, px, py);
    // The first colour is laid last: it stands for what is rare.
    const layers = [[back, "rest", 0.45]];
    for (let level = order.length - 1; level >= 0; level--) layers.push([order[level], this.palette[level], this.n > 20000 ? 0.55 : 0.72]);
    if (this.n <= 4000) {
      for (const [ids, name, alpha] of layers) {
        pen.fillStyle = this.style(name);
        pen.globalAlpha = alpha;
        for (const i of ids) {
          pen.beginPath();
          pen.arc(px[i], py[i], half, 0, 7);
          pen.fill();
        }
      }
    } else {
      this.stamps.clear(this.base.width, this.base.height);
      for (const [ids, name, alpha] of layers) {
        this.stamps.lay(ids, px, py, this.ratio, Math.max(1, Math.round(size * this.ratio)), this.rgb(pen, name), alpha);
      }
      this.stamps.onto(pen, this.width, this.height);
    }
    pen.restore();
  }

  axes(pen) {
    const m = this.margin, { left, right, bottom, top } = this.view;
    pen.globalAlpha = 1;
    pen.lineWidth = 1;
    pen.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    pen.fillStyle = this.style("muted");
    pen.strokeStyle = this.style("grid");
    const step = span => {
      const rough = span / 6, power = 10 ** Math.floor(Math.log10(rough));
      return [1, 2, 5, 10].map(k => k * power).find(value => value >= rough);
    };
    const digits = Math.max(1, Math.ceil(-Math.log10(step(right - left))));
    pen.textAlign = "center";
    for (let value = Math.max(0, Math.ceil(left / step(right - left)) * step(right - left)); value <= right; value += step(right - left)) {
      const px = Math.round(m.left + (value - left) / (right - left) * (this.width - m.left - m.right)) + 0.5;
      pen.globalAlpha = 0.6;
      pen.beginPath(); pen.moveTo(px, m.top); pen.lineTo(px, this.height - m.bottom); pen.stroke();
      pen.globalAlpha = 1;
      pen.fillText(value.toFixed(digits), px, this.height - m.bottom + 16);
    }
    const rise = step(top - bottom), places = Math.max(1, Math.ceil(-Math.log10(rise)));
    pen.textAlign = "right";
    for (let value = Math.max(0, Math.ceil(bottom / rise) * rise); value <= Math.min(top, 1.0001); value += rise) {
      const py = Math.round(m.top + (top - value) / (top - bottom) * (this.height - m.top - m.bottom)) + 0.5;
      pen.globalAlpha = 0.6;
      pen.beginPath(); pen.moveTo(m.left, py); pen.lineTo(this.width - m.right, py); pen.stroke();
      pen.globalAlpha = 1;
      pen.fillText(value.toFixed(places), m.left - 7, py + 4);
    }
    pen.textAlign = "center";
    pen.fillText(this.xLabel, (m.left + this.width - m.right) / 2, this.height - 8);
    pen.save();
    pen.translate(11, (m.top + this.height - m.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(this.yLabel, 0, 0);
    pen.restore();
  }

  paintOver() {
    const pen = this.over.getContext("2d");
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const ring = (i, width, radius) => {
      if (i < 0 || !Number.isFinite(this.x[i])) return;
      const [px, py] = this.place(i);
      for (const [colour, line] of [[this.style("paper"), width + 2.5], [this.style("ink"), width]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = line;
        pen.beginPath(); pen.arc(px, py, radius, 0, 7); pen.stroke();
      }
    };
    ring(this.hovered, 1.2, 6);
    ring(this.picked, 2, 7.5);
    if (this.path.length < 2) return;
    pen.beginPath();
    for (const [px, py] of this.path) pen.lineTo(px, py);
    pen.closePath();
    pen.fillStyle = pen.strokeStyle = this.style("accent");
    pen.globalAlpha = 0.12; pen.fill();
    pen.globalAlpha = 1; pen.lineWidth = 1.5; pen.stroke();
  }

  // The nearest sample within `reach` pixels: one of `pickable` where there is one, else any within a third of that.
  nearest(px, py, reach = 26) {
    let best = -1, found = reach * reach, other = -1, close = reach * reach / 9;
    for (const i of this.cells ? this.cells.near(px, py, Math.ceil(reach / 16)) : []) {
      const distance = (this.px[i] - px) ** 2 + (this.py[i] - py) ** 2;
      if (distance < found && (!this.pickable || this.pickable[i])) { found = distance; best = i; }
      if (distance < close) { close = distance; other = i; }
    }
    return best >= 0 ? best : other;
  }

  // The nearest pickable sample in a direction, for the arrow keys: what lies straight ahead counts as nearer.
  towards(dx, dy) {
    let best = -1, found = Infinity;
    const [px, py] = this.picked >= 0 && Number.isFinite(this.x[this.picked]) ? this.place(this.picked) : [this.width / 2, this.height / 2];
    for (const i of this.cells ? this.cells.ids : []) {
      if (i === this.picked || this.pickable && !this.pickable[i]) continue;
      const x = this.px[i] - px, y = this.py[i] - py, along = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
      const cost = along + 2.5 * aside;
      if (along > 0.5 && aside <= 2 * along && cost < found) { found = cost; best = i; }
    }
    return best;
  }

  zoom(factor, centre = null) {
    const v = this.view, w = this.whole;
    const at = centre || (this.picked >= 0 && Number.isFinite(this.x[this.picked])
      ? [this.x[this.picked], this.y[this.picked]] : [(v.left + v.right) / 2, (v.top + v.bottom) / 2]);
    const span = (now, most) => Math.min(Math.max(now / factor, most / 1e5), most);  // closer, and steps of the axes add nothing
    const width = span(v.right - v.left, w.right - w.left), height = span(v.top - v.bottom, w.top - w.bottom);
    const left = Math.min(Math.max(at[0] - width / 2, w.left), w.right - width);
    const bottom = Math.min(Math.max(at[1] - height / 2, w.bottom), w.top - height);
    this.view = { left, right: left + width, bottom, top: bottom + height };
    this.draw();
  }

  pick(i) {
    this.picked = i;
    this.paintOver();
    if (this.on.pick) this.on.pick(i);
  }

  listen() {
    const where = event => {
      const box = this.over.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.over.addEventListener("pointermove", event => {
      if (this.path.length) {
        this.path.push(where(event));
        this.paintOver();
        return;
      }
      if (event.pointerType === "touch") return;
      const i = this.nearest(...where(event));
      if (i === this.hovered) return;
      this.hovered = i;
      this.paintOver();
      if (this.on.hover) this.on.hover(i);
    });
    this.over.addEventListener("pointerdown", event => {
      if (!this.lassoing || event.button) return;
      event.preventDefault();
      this.over.setPointerCapture(event.pointerId);
      this.path = [where(event)];
    });
    this.over.addEventListener("pointerup", event => {
      if (!this.path.length) return;
      const path = this.path;
      this.path = [];
      this.paintOver();
      if (path.length > 5 && this.on.lasso) this.on.lasso(this.within(path));
    });
    this.over.addEventListener("pointercancel", () => { this.path = []; this.paintOver(); });
    this.over.addEventListener("pointerleave", () => {
      this.hovered = -1;
      this.paintOver();
      if (this.on.hover) this.on.hover(-1);
    });
    this.over.addEventListener("click", event => {
      if (this.lassoing) return;
      const i = this.nearest(...where(event));
      if (i >= 0) this.pick(i);
    });
    this.box.addEventListener("keydown", event => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step) {
        const i = this.towards(...step);
        if (i >= 0) this.pick(i);
      } else if (event.key === "+" || event.key === "=") this.zoom(1.6);
      else if (event.key === "-") this.zoom(1 / 1.6);
      else if (event.key === "0") this.zoom(1e-9);
      else return;
      event.preventDefault();
    });
  }

  // Which samples lie inside a polygon of pixels, Uint8Array; even and odd crossings.
  within(path) {
    const inside = new Uint8Array(this.n);
    for (let i = 0; i < this.n; i++) {
      const [px, py] = this.place(i);
      let odd = 0;
      for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
        const [ax, ay] = path[a], [bx, by] = path[b];
        if (ay > py !== by > py && px < (bx - ax) * (py - ay) / (by - ay) + ax) odd ^= 1;
      }
      inside[i] = odd;
    }
    return inside;
  }
}

// A sample's target probability over the epochs, as an SVG; null where nothing was recorded.
function trajectoryPlot(values) {
  const seen = values.filter(value => value !== null && !Number.isNaN(value)).length;
  if (!seen) return element("p", { class: "note" }, "No trajectory.");
  const [w, h, l, b, t] = [300, 118, 26, 20, 6], across = k => l + (values.length < 2 ? 0 : k / (values.length - 1) * (w - l - 6));
  const up = value => t + (1 - value) * (h - b - t);
  let line = "", pen = "M";
  values.forEach((value, k) => {
    if (value === null || Number.isNaN(value)) { pen = "M"; return; }
    line += `${pen}${across(k).toFixed(1)} ${up(value).toFixed(1)}`;
    pen = "L";
  });
  const label = `Target probability over ${values.length} epochs, from ${Number(values.find(v => v !== null)).toFixed(2)} to ${Number(values.findLast(v => v !== null)).toFixed(2)}`;
  const text = (x, y, anchor, words) => element("text", { x, y, "text-anchor": anchor }, words);
  return element(
    "svg", { viewBox: `0 0 ${w} ${h}`, class: "trajectory", role: "img", "aria-label": label },
    ...[0, 0.5, 1].map(value => element("line", { x1: l, x2: w - 6, y1: up(value), y2: up(value) })),
    ...[0, 0.5, 1].map(value => text(l - 5, up(value) + 3.5, "end", String(value))),
    text(l, h - 5, "start", "epoch 0"), text(w - 6, h - 5, "end", String(values.length - 1)),
    element("path", { d: line }), ...(seen === 1 ? [element("circle", { cx: across(values.findIndex(v => v !== null)), cy: up(values.find(v => v !== null)), r: 2 })] : []),
  );
}
