// The report's own script: tables that sort, and the data map with its card.
"use strict";

for (const button of document.querySelectorAll("table.results thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, row = head.parentElement, column = [...row.children].indexOf(head);
    const up = head.getAttribute("aria-sort") === "descending" || column === 0 && !head.hasAttribute("aria-sort");
    for (const other of row.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = row.closest("table").tBodies[0], value = line => line.children[column].dataset.value;
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // no gap: last, both ways
      const order = column ? x - y : x.localeCompare(y);
      return up ? order : -order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}

const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
const packed = document.getElementById("map-data");
if (packed) showMap(JSON.parse(packed.textContent));

function showMap(data) {
  const raw16 = text => new Uint16Array(bytes(text).buffer);
  const scaled = (text, size) => Float32Array.from(raw16(text), value => value === 65535 ? NaN : value / 65534 * size);
  const x = scaled(data.x, data.widest), y = scaled(data.y, 1);
  const wide = bytes(data.target), target = wide.length === 2 * data.n ? new Uint16Array(wide.buffer) : new Uint32Array(wide.buffer);
  const right = data.right && Float32Array.from(raw16(data.right), value => value === 65535 ? NaN : value / 64800);
  const shown = new Uint32Array(bytes(data.shown).buffer);
  const row = new Map(Array.from(shown, (id, place) => [id, place]));
  const trajectories = data.trajectories && bytes(data.trajectories);
  const scores = data.scores.map(score => ({ name: score.name, values: new Float32Array(bytes(score.values).buffer) }));
  const kept = data.kept.map(one => ({ name: one.name, bits: bytes(one.bits) })), planted = data.planted && bytes(data.planted);
  const has = (bits, i) => bits[i >> 3] >> (i & 7) & 1;
  const pickable = shown.length ? new Uint8Array(data.n) : null;
  for (const id of shown) pickable[id] = 1;
  const sheet = data.sheet && Object.assign(new Image(), { src: data.sheet.src });

  const card = document.getElementById("map-card"), box = document.getElementById("map-box");
  const map = new DataMap(box, { x, y }, {
    xLabel: "variability: standard deviation over epochs", yLabel: "confidence: mean probability of the true class", pickable,
    on: { pick: show, hover: i => { if (map.picked < 0 || i >= 0) show(i >= 0 ? i : map.picked); else show(map.picked); } },
  });
  window.thresherMap = map;

  function picture(id) {
    if (!sheet || !row.has(id)) return null;
    const { tile, columns } = data.sheet, place = row.get(id), size = Math.max(1, Math.floor(128 / tile)) * tile;
    const canvas = element("canvas", { width: size, height: size, class: "picture", role: "img", "aria-label": `Image of sample ${id}` });
    const paint = () => {
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.drawImage(sheet, place % columns * tile, Math.floor(place / columns) * tile, tile, tile, 0, 0, size, size);
    };
    if (sheet.complete) paint(); else sheet.addEventListener("load", paint);
    return canvas;
  }

  function show(id) {
    if (id < 0) return;
    const place = row.get(id), facts = element("dl");
    const fact = (name, value) => facts.append(element("dt", {}, name), element("dd", {}, value));
    fact("class", data.classes[target[id]] ?? String(target[id]));
    if (Number.isFinite(y[id])) {
      fact("confidence", y[id].toFixed(3));
      fact("variability", x[id].toFixed(3));
    }
    if (right && !Number.isNaN(right[id])) fact("right in", `${Math.round(right[id] * 100)} % of epochs`);
    if (planted && has(planted, id)) fact("label", "made wrong on purpose");
    if (kept.length) fact("kept by", kept.filter(one => has(one.bits, id)).map(one => one.name).join(", ") || "none");
    const parts = [element("h3", {}, `Sample ${id}`)];
    if (place === undefined) parts.push(facts, element("p", { class: "note" }, "This file has no trajectory of this sample; thresher explore shows every one."));
    else {
      const image = picture(id);
      if (image) parts.push(image);
      if (trajectories) {
        const values = Array.from(trajectories.subarray(place * data.epochs, (place + 1) * data.epochs), value => value === 255 ? null : value / 254);
        parts.push(element("p", { class: "caption" }, "probability of its class, by epoch"), trajectoryPlot(values));
      }
      parts.push(facts);
      if (scores.length) {
        const list = element("dl");
        for (const score of scores) list.append(element("dt", {}, score.name), element("dd", {}, Number.isNaN(score.values[place]) ? "–" : String(Number(score.values[place].toPrecision(4))).replace(/^-/, "−")));
        parts.push(element("details", card.querySelector("details[open]") ? { open: "" } : {}, element("summary", {}, "Scores"), element("div", {}, list)));
      }
    }
    card.replaceChildren(...parts);
  }

  const colour = document.getElementById("map-colour"), key = document.getElementById("map-key");
  const ways = [];
  if (right) ways.push({ name: "how often right", of: i => Number.isNaN(right[i]) ? 0 : Math.min(5, Math.floor(right[i] * 6)), palette: [0, 1, 2, 3, 4, 5].map(k => "m" + k), key: ["0–17 % of epochs right", "17–33 %", "33–50 %", "50–67 %", "67–83 %", "83–100 %"] });
  if (planted) ways.push({ name: "wrong on purpose", of: i => has(planted, i) ? 0 : 1, palette: ["s2", "rest"], key: ["planted wrong label", "label as it was"] });
  for (const one of kept) ways.push({ name: `kept by ${one.name}`, of: i => has(one.bits, i) ? 0 : 1, palette: ["accent", "rest"], key: [`kept at ${data.keep}`, "dropped"] });
  if (data.classes.length && data.classes.length <= 10) ways.push({ name: "class", of: i => target[i], palette: data.classes.map((_, k) => "s" + k), key: data.classes });
  if (!ways.length) ways.push({ name: "nothing", of: () => 0, palette: ["accent"], key: [] });
  ways.forEach((way, k) => colour.append(element("option", { value: k }, way.name)));
  const paint = () => {
    const way = ways[colour.value];
    for (let i = 0; i < data.n; i++) map.colour[i] = way.of(i);
    map.palette = way.palette;
    key.replaceChildren(...way.key.map((text, k) => element("li", {}, element("i", { style: `background:var(--${way.palette[k]})` }), text)));
    map.draw();
  };
  colour.addEventListener("change", paint);
  paint();
  document.getElementById("map-closer").addEventListener("click", () => map.zoom(1.6));
  document.getElementById("map-farther").addEventListener("click", () => map.zoom(1 / 1.6));
  document.getElementById("map-whole").addEventListener("click", () => map.zoom(1e-9));
  document.getElementById("map-find").addEventListener("submit", event => {
    event.preventDefault();
    map.pick(Number(document.getElementById("map-id").value));
  });
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", () => {
      map.pick(Number(button.dataset.sample));
      document.getElementById("map").scrollIntoView();
      box.focus({ preventScroll: true });
    });
  }
}
