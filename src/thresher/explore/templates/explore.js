// The explorer's page: filters over all samples, the data map, the list, and the export of what is selected.
"use strict";

const by = id => document.getElementById(id);
const PAGE = 60;
const arrays = new Map();
let run, map, target, right, order, rank, values, member, lassoed = null, chosen = [], listed = 0, turn = 0, shownTurn = -1;

async function ask(address, options) {
  const answer = await fetch(address, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

// Arrays are fetched once, a coreset's when it is first looked at; what failed is asked for again.
function array(address, kind) {
  if (!arrays.has(address)) {
    const coming = ask(`/array/${address}`).then(answer => answer.arrayBuffer()).then(buffer => new kind(buffer));
    coming.catch(() => arrays.delete(address));
    arrays.set(address, coming);
  }
  return arrays.get(address);
}

function trouble(error) {
  by("trouble").textContent = error.message;
  by("trouble").hidden = false;
}

const className = label => run.classes[label] ?? String(label);
const short = value => value === null || Number.isNaN(value) ? "–" : String(Number(value.toPrecision(4))).replace(/^-/, "−");
const option = (value, text) => element("option", { value }, text);

async function start() {
  run = await (await ask("/run.json")).json();
  const [x, y, labels] = await Promise.all([array("x", Float32Array), array("y", Float32Array), array("target", Int32Array)]);
  target = labels;
  if (run.right) right = await array("right", Float32Array);
  by("score").append(...run.columns.map((column, k) => option(k, column.name)));
  by("class").append(option("", "all"), ...[...new Set(target)].sort((a, b) => a - b).map(label => option(label, className(label))));
  by("map-colour").append(option("difficulty", "difficulty by this score"), ...(right ? [option("right", "how often right")] : []), ...(run.classes.length && run.classes.length <= 10 ? [option("class", "class")] : []), option("coreset", "kept by the coreset"));
  listCoresets();
  map = window.thresherMap = new DataMap(by("map-box"), { x, y }, {
    xLabel: "variability: standard deviation over epochs", yLabel: "confidence: mean probability of the true class",
    on: { pick: show, hover: id => { map.over.title = id < 0 ? "" : `#${id} · ${className(target[id])} · ${short(values[id])}`; }, lasso: inside => { lassoed = inside; lasso(false); apply(); } },
  });
  for (const id of ["score", "end", "coreset"]) by(id).addEventListener("change", reload);
  for (const id of ["keep", "low", "high"]) by(id).addEventListener("input", apply);
  for (const id of ["class", "state"]) by(id).addEventListener("change", apply);
  by("sort").addEventListener("change", list);
  by("map-colour").addEventListener("change", paint);
  by("more").addEventListener("click", more);
  by("clear").addEventListener("click", reset);
  by("lasso").addEventListener("click", () => lasso(!map.lassoing));
  by("lasso-clear").addEventListener("click", () => { lassoed = null; apply(); });
  by("export").addEventListener("click", exportChosen);
  by("controls").addEventListener("submit", event => event.preventDefault());
  by("map-closer").addEventListener("click", () => map.zoom(1.6));
  by("map-farther").addEventListener("click", () => map.zoom(1 / 1.6));
  by("map-whole").addEventListener("click", () => map.zoom(1e-9));
  addEventListener("keydown", event => { if (event.key === "Escape" && map.lassoing) lasso(false); });
  await reload();
}

function listCoresets() {
  const before = by("coreset").value;
  by("coreset").replaceChildren(option("", "any"), ...run.coresets.map(one => option(one.name, `${one.name} (${one.count})`)));
  by("coreset").value = run.coresets.some(one => one.name === before) ? before : "";
  by("left-out").textContent = run.left_out.length ? `Coresets that are left out: ${run.left_out.join(" ")}` : "";
  by("left-out").hidden = !run.left_out.length;
}

function lasso(on) {
  map.lassoing = on;
  by("lasso").setAttribute("aria-pressed", on);
  by("map-box").classList.toggle("lassoing", on);
}

function reset() {
  by("controls").reset();
  lassoed = null;
  lasso(false);
  reload();
}

// Another score, order or coreset: fetch what is new of it, then filter again.
async function reload() {
  const mine = ++turn, score = by("score").value, name = by("coreset").value;
  by("export").disabled = true;  // until the list is what the filters say
  try {
    const found = await Promise.all([
      array(`score/${score}`, Float32Array), array(`order/${score}/${by("end").value}`, Uint32Array),
      name ? array(`kept/${encodeURIComponent(name)}`, Uint8Array) : null, array(`order/${score}/hard`, Uint32Array),
    ]);
    if (mine !== turn) return;  // meanwhile something else was asked for
    [values, , member] = found;
    const places = ids => { const at = new Uint32Array(run.n); ids.forEach((id, k) => { at[id] = k; }); return at; };
    order = found[1];
    rank = places(order);
    map.difficulty = places(found[3]);
    by("trouble").hidden = true;
    apply();
  } catch (error) {
    trouble(error);
  }
}

// The first samples that a kept share in thousandths stands for: N - floor((1 - keep) N), in whole numbers.
const kept = thousandths => run.n - Math.floor((1000 - thousandths) * run.n / 1000);

function apply() {
  const thousandths = Number(by("keep").value), first = kept(thousandths), label = by("class").value;
  const low = by("low").value === "" ? -Infinity : Number(by("low").value), high = by("high").value === "" ? Infinity : Number(by("high").value);
  const bounded = low > -Infinity || high < Infinity, wanted = by("state").value === "kept" ? 1 : 0;
  by("keep-said").textContent = `${Number((thousandths / 10).toFixed(1))} %, ${first} samples`;
  by("state").disabled = !member;
  by("lasso-clear").disabled = !lassoed;
  const faint = new Uint8Array(run.n).fill(1), only = label === "" ? null : Number(label);
  chosen = [];  // in the order of the ranking
  for (let k = 0; k < first; k++) {
    const i = order[k];
    const here = (only === null || target[i] === only) && (!member || member[i] === wanted)
      && (!bounded || values[i] >= low && values[i] <= high) && (!lassoed || lassoed[i]);
    if (here) {
      chosen.push(i);
      faint[i] = 0;
    }
  }
  map.faint = chosen.length < run.n ? faint : null;
  by("count").textContent = chosen.length;
  by("count-of").textContent = `of ${run.n} selected`;
  by("export").disabled = !chosen.length;
  paint();
  if (by("sort").value === "rank") fill(); else list();
}

function paint() {
  const levels = [0, 1, 2, 3, 4, 5].map(k => "m" + k), way = by("map-colour").value;
  let of, palette = levels, key;
  if (way === "right") {
    of = i => Number.isNaN(right[i]) ? 0 : Math.min(5, Math.floor(right[i] * 6));
    key = ["0–17 % of epochs right", "17–33 %", "33–50 %", "50–67 %", "67–83 %", "83–100 %"];
  } else if (way === "class") {
    of = i => target[i];
    palette = run.classes.map((_, k) => "s" + k);
    key = run.classes;
  } else if (way === "coreset") {
    of = i => member && member[i] ? 0 : 1;
    palette = ["accent", "s0"];
    key = member ? ["kept", "dropped"] : ["choose a coreset to see what it keeps"];
  } else {
    of = i => Math.min(5, Math.floor(map.difficulty[i] / run.n * 6));
    key = ["hardest sixth", "2nd", "3rd", "4th", "5th", "easiest sixth"];
  }
  for (let i = 0; i < run.n; i++) map.colour[i] = of(i);
  map.palette = palette;
  by("map-key").replaceChildren(...key.map((text, k) => element("li", {}, element("i", { style: `background:var(--${palette[k]})` }), text)), ...(map.faint ? [element("li", {}, element("i", { style: "background:var(--rest)" }), "not selected")] : []));
  map.draw();
}

function list() {
  const way = by("sort").value, up = way === "score-up" ? 1 : -1;
  const last = value => Number.isNaN(value) ? Infinity : up * value;  // no score: last, both ways
  if (way === "rank") chosen.sort((a, b) => rank[a] - rank[b]);
  else if (way === "id") chosen.sort((a, b) => a - b);
  else chosen.sort((a, b) => last(values[a]) - last(values[b]) || a - b);
  fill();
}

// Show the first of the list; where these are shown already, as under a moving slider, they stay.
function fill() {
  const buttons = by("list").querySelectorAll("button"), first = chosen.slice(0, PAGE);
  if (turn === shownTurn && listed === PAGE && first.length === PAGE && first.every((id, k) => Number(buttons[k].dataset.sample) === id)) {
    tellMore();
    return;
  }
  shownTurn = turn;
  listed = 0;
  by("list").replaceChildren();
  more();
}

function more() {
  const part = chosen.slice(listed, listed + PAGE);
  by("list").append(...part.map(id => {
    const said = `sample ${id}, class ${className(target[id])}, score ${short(values[id])}`;
    const picture = run.images ? element("img", { src: `/image/${id}`, alt: "", loading: "lazy", width: 80, height: 80 }) : element("span", { class: "blank" });
    const button = element("button", { type: "button", "data-sample": id, "aria-label": said }, picture, `#${id} · ${className(target[id])}`, element("br"), short(values[id]));
    button.addEventListener("click", () => map.pick(id));
    return element("li", {}, button);
  }));
  listed += part.length;
  tellMore();
}

function tellMore() {
  by("more").hidden = listed >= chosen.length;
  by("more").textContent = `Show more of ${chosen.length}`;
}

async function show(id) {
  for (const button of by("list").querySelectorAll("button")) button.setAttribute("aria-current", Number(button.dataset.sample) === id);
  try {
    const facts = await (await ask(`/sample/${id}`)).json();
    if (map.picked !== id) return;
    const list = element("dl"), scores = element("dl");
    const fact = (into, name, value) => into.append(element("dt", {}, name), element("dd", {}, value));
    fact(list, "class", className(target[id]));
    fact(list, "confidence", short(map.y[id]));
    fact(list, "variability", short(map.x[id]));
    if (right && !Number.isNaN(right[id])) fact(list, "right in", `${Math.round(right[id] * 100)} % of epochs`);
    fact(list, "rank", `${rank[id] + 1} of ${run.n}`);
    for (const score of facts.scores) fact(scores, score.name, short(score.value));
    by("map-card").replaceChildren(
      element("h3", {}, `Sample ${id}`),
      ...(run.images ? [element("img", { class: "picture", src: `/image/${id}`, alt: `Image of sample ${id}`, width: 128 })] : []),
      element("p", { class: "caption" }, "probability of its class, by epoch"), trajectoryPlot(facts.trajectory), list,
      element("details", innerWidth > 736 ? { open: "" } : {}, element("summary", {}, "Scores"), element("div", {}, scores)),
      element("details", {}, element("summary", {}, `In ${facts.kept.length} of ${run.coresets.length} coresets`), element("div", {}, element("p", { class: "note kept" }, facts.kept.join(", ") || "none"))),
    );
    const place = by("map-card").getBoundingClientRect();
    if (place.bottom < 60 || place.top > innerHeight - 60) by("map-card").scrollIntoView({ block: "nearest" });
  } catch (error) {
    trouble(error);
  }
}

async function exportChosen() {
  const filters = { score: run.columns[by("score").value].name, end: by("end").value, keep: Number(by("keep").value) / 1000, lasso: Boolean(lassoed) };
  if (by("class").value !== "") filters.classes = [Number(by("class").value)];
  if (member) Object.assign(filters, { coreset: by("coreset").value, state: by("state").value });
  for (const bound of ["low", "high"]) if (by(bound).value !== "") filters[bound] = Number(by(bound).value);
  try {
    const answer = await ask("/export", {
      method: "POST", body: JSON.stringify({ name: by("name").value.trim(), ids: chosen, filters }),
      headers: { "Content-Type": "application/json", "X-Thresher-Token": document.querySelector("meta[name=thresher-token]").content },
    });
    const written = await answer.json();
    by("exported").replaceChildren(`${written.count} samples in `, element("code", {}, written.path));
    run = await (await ask("/run.json")).json();
    listCoresets();
  } catch (error) {
    by("exported").textContent = error.message;
  }
}

start().catch(trouble);
