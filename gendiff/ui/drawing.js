// What the player (player.js) draws with: elements, pictures, numbers, charts. Nothing here knows
// the player's state. player.py puts this file before player.js, in one scope.
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

const ICONS = {
  first: "M6 5v14M19 5.5 9.5 12l9.5 6.5z", back: "M15 5l-7 7 7 7", forward: "M9 5l7 7-7 7",
  last: "M18 5v14M5 5.5l9.5 6.5L5 18.5z", play: "M7 4.5v15l12-7.5z", pause: "M8 5v14M16 5v14",
  loop: "M4 11V9.500a3 3 0 0 1 3-3h12m-3.500-3.500 3.500 3.500-3.500 3.500M20 13v1.500a3 3 0 0 1-3 3H5m3.500-3.500L5 17.500 8.500 21",
  save: "M12 4v11m-5-5 5 5 5-5M5 20h14", grid: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5", shrink: "M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5",
};
const icon = (name) => `<svg class="gd-icon gd-icon-${name}" viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
const button = (act, label, key) =>
  `<button type="button" data-act="${act}" aria-label="${label}" title="${label} (${key})">${icon(act)}</button>`;

const MARKUP = `
  <section class="gd" role="group" tabindex="0">
    <p class="gd-empty"></p>
    <div class="gd-stage"></div>
    <div class="gd-bar">
      <div class="gd-keys">
        ${button("first", "First", "Home")}${button("back", "Back", "left arrow")}
        <button type="button" class="gd-play" data-act="play" aria-label="Play" title="Play (space)">${icon("play")}${icon("pause")}</button>
        ${button("forward", "Forward", "right arrow")}${button("last", "Last", "End")}
      </div>
      <div class="gd-time">
        <div class="gd-strip" aria-hidden="true"></div>
        <input class="gd-seek" type="range" min="0" max="0" value="0" step="1">
      </div>
      <div class="gd-said"><span class="gd-where"></span><span class="gd-status"></span></div>
      <div class="gd-tools">
        <select class="gd-speed" aria-label="Speed" title="Speed">
          ${[0.25, 0.5, 1, 2, 4].map((x) => `<option value="${x}"${x === 1 ? " selected" : ""}>${x}×</option>`).join("")}
        </select>
        <button type="button" data-act="loop" aria-label="Loop" title="Loop" aria-pressed="false">${icon("loop")}</button>
        <details class="gd-menu"><summary aria-label="Save" title="Save">${icon("save")}</summary><div></div></details>
        <button type="button" data-act="full" aria-label="Full screen" title="Full screen (f)">${icon("full")}${icon("shrink")}</button>
      </div>
    </div>
    <dl class="gd-facts"></dl>
    <div class="gd-foot">
      <button type="button" class="gd-all" data-act="all" hidden>${icon("grid")}<span></span></button>
      <span class="gd-note"></span>
    </div>
    <details class="gd-more" open>
      <summary>Formulas and curves</summary>
      <div class="gd-info">
        <div class="gd-sums"><div class="gd-html"></div><div class="gd-charts"></div></div>
        <div class="gd-how"><ol class="gd-code"></ol><div class="gd-remark"></div></div>
      </div>
    </details>
    <p class="gd-live" aria-live="polite"></p>
  </section>`;

// ---- Pictures -------------------------------------------------------------------------------

function decode(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function blit(bytes, at, pane, pixels, offset, stride) { // one picture into RGBA words
  for (let y = 0; y < pane.h; y++, offset += stride) {
    for (let x = 0; x < pane.w; x++, at += pane.c) {
      const r = bytes[at], g = pane.c === 3 ? bytes[at + 1] : r, b = pane.c === 3 ? bytes[at + 2] : r;
      pixels[offset + x] = 0xff000000 | (b << 16) | (g << 8) | r;
    }
  }
}

// signal x0 + noise eps to 8 bits, as the server rounds it (images.to_uint8: in float32, half to even).
function fade({ x0, eps }, signal, noise, values) {
  const bytes = new Uint8Array(x0.length);
  for (let i = 0; i < x0.length; i++) {
    values[i] = signal * x0[i] + noise * eps[i];
    const v = Math.fround(Math.fround(Math.fround(values[i]) + 1) * 127.5), low = Math.floor(v);
    const even = low + (v - low > 0.5 || (v - low === 0.5 && low % 2 !== 0) ? 1 : 0);
    bytes[i] = clamp(even, 0, 255);
  }
  return bytes;
}

const floats = (text) => new Float32Array(decode(text).buffer);

function histogramOf(values, { counts, lo, hi, ...rest }) { // the ends take what lies beyond
  const next = Array(counts.length).fill(0), scale = counts.length / (hi - lo);
  for (const v of values) next[clamp(Math.floor((v - lo) * scale), 0, counts.length - 1)]++;
  return { ...rest, lo, hi, counts: next };
}

function snap(scale, density) { // whole device pixels, unless that wastes much of the size
  const device = scale * density, whole = Math.floor(device);
  return whole / device > 0.85 ? whole / density : scale;
}

function fit({ w, h, columns }, count, width, height, caption) { // the columns that show `count` pictures largest
  const gap = count > 1 ? Math.max(1, Math.round(w / 16)) : 0;
  let best = { scale: 0, score: 0 };
  for (let across = 1; across <= count; across++) {
    if (count > 1 && columns && across !== Math.min(columns, count)) continue;
    const rows = Math.ceil(count / across);
    const wide = width / (across * w + (across - 1) * gap);
    const high = (height - rows * caption) / (rows * h + (rows - 1) * gap);
    const scale = Math.min(wide, high);
    // Full rows look better, and a grid that is no taller than wide.
    const score = scale * (across * rows === count ? 1 : 0.75) * (rows > across ? 0.9 : 1);
    if (score > best.score) best = { scale, score, across, rows, gap };
  }
  return best;
}

function sideBySide(canvases) { // one sheet, each pixel a square
  const width = canvases.reduce((sum, canvas) => sum + canvas.width + 4, -4);
  const height = Math.max(...canvases.map((canvas) => canvas.height));
  const scale = clamp(Math.floor(Math.min(4096 / height, 8192 / width)), 1, 8);
  const sheet = Object.assign(make("canvas"), { width: width * scale, height: height * scale });
  const context = sheet.getContext("2d");
  context.imageSmoothingEnabled = false;
  let x = 0;
  for (const canvas of canvases) {
    context.drawImage(canvas, x * scale, 0, canvas.width * scale, canvas.height * scale);
    x += canvas.width + 4;
  }
  return sheet;
}

// ---- Numbers and formulas -------------------------------------------------------------------

const PRETTY = {
  alpha: "α", alpha_bar: "ᾱ", beta: "β", eps: "ε", log_snr: "log-SNR", nfe: "NFE", sigma: "σ",
};

function writeMath(node, text) { // "x_t", "x_{t-1}": what follows the line is set below
  text.split(/_(?:\{([^}]*)\}|([A-Za-z0-9])(?![A-Za-z0-9]))/).forEach((part, i) => {
    if (part) node.append(i % 3 ? make("sub", "", part) : part);
  });
  return node;
}

function writeName(node, name) { // "alpha_bar_t" -> alpha bar with a subscript t
  const [, stem, index] = name.match(/^(.+?)(_[a-z0-9])?$/);
  writeMath(node, (PRETTY[stem] ?? stem.replace(/_(?![a-z0-9]\b)/g, " ")) + (index ?? ""));
}

function number(value) {
  if (value === null) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  const text = Number.isInteger(value) || size >= 10000 ? value.toFixed(0)
    : size >= 10 ? value.toFixed(1) : size < 0.001 ? value.toExponential(2) : value.toPrecision(4);
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
  PROGRESS MATH MROW MI MN MO MS MTEXT MSUB MSUP MSUBSUP MUNDER MOVER MUNDEROVER MFRAC MSQRT MROOT MSTYLE
  MSPACE MPADDED`.split(/\s+/));
const ATTRIBUTES = new Set(["class", "display", "mathvariant", "stretchy", "accent", "value", "max"]);

function clean(html) { // the server made it; still, only plain markup gets into the page
  const { body } = new DOMParser().parseFromString(html, "text/html");
  for (const node of body.querySelectorAll("*")) {
    if (!TAGS.has(node.tagName.toUpperCase())) node.remove();
    for (const { name } of [...node.attributes]) if (!ATTRIBUTES.has(name)) node.removeAttribute(name);
  }
  return body.childNodes;
}

// ---- Charts ---------------------------------------------------------------------------------

const BOX = { w: 300, h: 140, left: 44, right: 8, top: 8, bottom: 22 }, WIDE = { ...BOX, w: 480 };

function chartCard(parent, title, box = BOX) {
  const node = make("figure", "gd-chart", null, parent);
  const head = make("figcaption", "", title, node);
  node.style.setProperty("--gd-box", box.w);
  return { head, svg: draw("svg", { viewBox: `0 0 ${box.w} ${box.h}`, "aria-hidden": "true" }, node) };
}

function axes(svg, [x0, x1], [y0, y1], name, box = BOX) { // draws the ends of both axes, returns both scales
  const { w, h, left, right, top, bottom } = box;
  const x = (v) => left + ((v - x0) / (x1 - x0 || 1)) * (w - left - right);
  const y = (v) => h - bottom - ((v - y0) / (y1 - y0 || 1)) * (h - top - bottom);
  const short = (v) => (Math.abs(v) < 0.001 * Math.abs(y1 - y0) ? "0"
    : number(Number(v.toPrecision(3))).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""));
  const ticks = [[left - 5, top + 9, "end", short(y1)], [left - 5, h - bottom, "end", short(y0)],
    [left, h - 5, "start", number(x0)], [w - right, h - 5, "end", number(x1)], [(left + w - right) / 2, h - 5, "middle", name]];
  draw("path", { class: "gd-axis", d: `M${left} ${top}V${h - bottom}M${left} ${y(clamp(0, y0, y1))}H${w - right}` }, svg);
  for (const [tx, ty, anchor, text] of ticks) draw("text", { x: tx, y: ty, "text-anchor": anchor }, svg, text);
  return [x, y];
}

function range(values) {
  const finite = values.filter((v) => v !== null);
  return finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
}

function nearest(places, place) {
  let best = 0;
  for (let i = 1; i < places.length; i++) if (Math.abs(places[i] - place) < Math.abs(places[best] - place)) best = i;
  return best;
}

// Curves of one unit over a common axis; frames: the place of each frame on it. Calls go(k) where
// a person points at frame k; returns a function that moves the marker to frame k.
function lineChart(parent, curves, frames, name, box, go) {
  const { head, svg } = chartCard(parent, null, box), last = frames.length - 1;
  const at = curves.map((curve) => curve.x ?? curve.y.map((_, i) => i));
  const ends = range([...at.flat(), ...frames]);
  if (frames[0] > frames[last]) ends.reverse(); // the run goes from left to right
  const [x, y] = axes(svg, ends, range(curves.flatMap((curve) => curve.y)), name, box);
  const mark = draw("path", { class: "gd-mark", d: `M0 ${box.top}V${box.h - box.bottom}` }, svg);
  const lines = curves.map((curve, i) => {
    const d = curve.y.map((v, j) => // a new stroke after what is not finite
      v === null ? "" : `${curve.y[j - 1] == null ? "M" : "L"}${x(at[i][j]).toFixed(1)} ${y(v).toFixed(1)}`);
    draw("path", { class: `gd-line gd-c${i % 4}`, d: d.join("") }, svg);
    writeMath(make("span", `gd-c${i % 4}`, null, head), curve.label);
    return { curve, at: at[i], value: make("b", "", "", head), dot: draw("circle", { class: `gd-c${i % 4}`, r: 4.5 }, svg) };
  });
  const point = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const seen = svg.getBoundingClientRect();
    go(nearest(frames.map(x), ((event.clientX - seen.left) / seen.width) * box.w));
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
