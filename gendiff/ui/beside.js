// What the player (player.js) says beside the pictures: numbers, formulas, charts. Pure drawing:
// nothing here knows the player's state. player.py puts this file before player.js, in one scope.
"use strict";

function make(tag, name, text, parent) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text != null) node.textContent = text;
  parent?.append(node);
  return node;
}

function draw(tag, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text != null) node.textContent = text;
  parent?.append(node);
  return node;
}

function setText(node, text) { // writes only what changes: screen readers and layout are spared
  if (node.textContent !== text) node.textContent = text;
}

const clamp = (x, lo, hi) => Math.max(lo, Math.min(hi, x));

// ---- Numbers and formulas -------------------------------------------------------------------

const PRETTY = {
  alpha: "α", alpha_bar: "ᾱ", beta: "β", eps: "ε", log_snr: "log-SNR", ms: "ms", nfe: "NFE", sigma: "σ",
};

function writeName(node, name) { // "alpha_bar_t" -> alpha bar with a subscript t
  const [, stem, index] = name.match(/^(.+?)(?:_([a-z0-9]))?$/) ?? [null, name];
  node.textContent = PRETTY[stem] ?? stem.replaceAll("_", " ");
  if (index) make("sub", "", index, node);
}

function number(value) {
  if (value === null) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  const text = Number.isInteger(value) || size >= 10000 ? value.toFixed(0)
    : size < 0.001 ? value.toExponential(2) : value.toPrecision(4);
  return text.replaceAll("-", "−");
}

function writeFacts(list, facts) { // the rows stay where the names do, only the numbers change
  const names = Object.keys(facts);
  if (list.dataset.names !== String(names) || list.childElementCount !== names.length) {
    list.dataset.names = names;
    list.replaceChildren(...names.map((name) => {
      const row = make("div");
      writeName(make("dt", "", null, row), name);
      make("dd", "", "", row);
      return row;
    }));
  }
  names.forEach((name, i) => setText(list.children[i].lastChild, number(facts[name])));
}

const TAGS = new Set(`B BR CODE DIV EM I P SPAN STRONG SUB SUP VAR TABLE TBODY TR TD TH
  MATH MROW MI MN MO MS MTEXT MSUB MSUP MSUBSUP MUNDER MOVER MUNDEROVER MFRAC MSQRT MROOT MSTYLE
  MSPACE MPADDED`.split(/\s+/));
const ATTRIBUTES = new Set(["class", "display", "mathvariant", "stretchy", "accent"]);

function clean(html) { // the server made it; still, only plain markup gets into the page
  const { body } = new DOMParser().parseFromString(html, "text/html");
  for (const node of body.querySelectorAll("*")) {
    if (!TAGS.has(node.tagName.toUpperCase())) node.replaceWith(node.textContent);
    for (const { name } of [...node.attributes]) if (!ATTRIBUTES.has(name)) node.removeAttribute(name);
  }
  return body.childNodes;
}

// ---- Charts ---------------------------------------------------------------------------------

const BOX = { w: 320, h: 150, left: 42, right: 8, top: 8, bottom: 22 };

function chartCard(parent, title) {
  const node = make("figure", "gd-chart", null, parent);
  const head = make("figcaption", "", title, node);
  return { head, svg: draw("svg", { viewBox: `0 0 ${BOX.w} ${BOX.h}`, "aria-hidden": "true" }, node) };
}

function axes(svg, [x0, x1], [y0, y1], name) { // draws the ends of both axes, returns both scales
  const { w, h, left, right, top, bottom } = BOX;
  const x = (v) => left + ((v - x0) / (x1 - x0 || 1)) * (w - left - right);
  const y = (v) => h - bottom - ((v - y0) / (y1 - y0 || 1)) * (h - top - bottom);
  const short = (v) => number(Number(v.toPrecision(3))).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  const ticks = [[left - 5, top + 9, "end", short(y1)], [left - 5, h - bottom, "end", short(y0)],
    [left, h - 5, "start", short(x0)], [w - right, h - 5, "end", short(x1)], [(left + w - right) / 2, h - 5, "middle", name]];
  draw("path", { class: "gd-axis", d: `M${left} ${top}V${h - bottom}M${left} ${y(clamp(0, y0, y1))}H${w - right}` }, svg);
  for (const [tx, ty, anchor, text] of ticks) draw("text", { x: tx, y: ty, "text-anchor": anchor }, svg, text);
  return [x, y];
}

function range(values) {
  const finite = values.filter((v) => v !== null);
  return [Math.min(...finite), Math.max(...finite)];
}

function nearest(places, place) {
  let best = 0;
  for (let i = 1; i < places.length; i++) if (Math.abs(places[i] - place) < Math.abs(places[best] - place)) best = i;
  return best;
}

// Curves of one unit over a common axis; frames: the place of each frame on it. Calls go(k) where
// a person points at frame k; returns a function that moves the marker to frame k.
function lineChart(parent, curves, frames, name, go) {
  const { head, svg } = chartCard(parent), last = frames.length - 1;
  const at = curves.map((curve) => curve.x ?? curve.y.map((_, i) => i));
  const ends = range([...at.flat(), ...frames]);
  if (frames[0] > frames[last]) ends.reverse(); // the run goes from left to right
  const [x, y] = axes(svg, ends, range(curves.flatMap((curve) => curve.y)), name);
  const mark = draw("path", { class: "gd-mark", d: `M0 ${BOX.top}V${BOX.h - BOX.bottom}` }, svg);
  const lines = curves.map((curve, i) => {
    const d = curve.y.map((v, j) => // a new stroke after what is not finite
      v === null ? "" : `${curve.y[j - 1] == null ? "M" : "L"}${x(at[i][j]).toFixed(1)} ${y(v).toFixed(1)}`);
    draw("path", { class: `gd-line gd-c${i % 4}`, d: d.join("") }, svg);
    make("span", `gd-c${i % 4}`, curve.label, head);
    return { curve, at: at[i], value: make("b", "", "", head), dot: draw("circle", { class: `gd-c${i % 4}`, r: 4.5 }, svg) };
  });
  const point = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = svg.getBoundingClientRect();
    go(nearest(frames.map(x), ((event.clientX - box.left) / box.width) * BOX.w));
  };
  for (const type of ["pointerdown", "pointermove"]) svg.addEventListener(type, point);
  return (k) => {
    mark.setAttribute("transform", `translate(${x(frames[k]).toFixed(1)} 0)`);
    for (const { curve, at: places, value, dot } of lines) {
      const j = nearest(places, frames[k]), v = curve.y[j];
      setText(value, `${number(v)}${curve.unit ? ` ${curve.unit}` : ""}`);
      dot.setAttribute("visibility", v === null ? "hidden" : "visible");
      dot.setAttribute("cx", x(places[j]).toFixed(1));
      dot.setAttribute("cy", y(v ?? 0).toFixed(1));
    }
  };
}

// A density up to 0.8, where N(0, 1) reaches half of it and spikes are cut. Returns its painter.
function histogramChart(parent, { label, lo, hi }) {
  const { svg } = chartCard(parent, `${label} and N(0, 1)`), top = 0.8;
  const [x, y] = axes(svg, [lo, hi], [0, top], "");
  const bars = draw("path", { class: "gd-bars" }, svg);
  const bell = Array.from({ length: 81 }, (_, i) => lo + (i / 80) * (hi - lo))
    .map((v) => `${x(v).toFixed(1)} ${y(Math.exp((-v * v) / 2) / Math.sqrt(2 * Math.PI)).toFixed(1)}`);
  draw("path", { class: "gd-line gd-c1", d: `M${bell.join("L")}` }, svg);
  return ({ counts }) => {
    const width = (hi - lo) / counts.length, total = counts.reduce((a, b) => a + b, 0) || 1;
    const d = counts.map((count, i) => `M${x(lo + i * width).toFixed(1)} ${y(0)}`
      + `V${y(Math.min(count / total / width, top)).toFixed(1)}H${x(lo + (i + 1) * width).toFixed(1)}V${y(0)}`);
    bars.setAttribute("d", d.join(""));
  };
}
