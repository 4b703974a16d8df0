// Browser side of the player (player.py). gradio runs this once for each player, with
//   element  where to build          props    props.value: the server's last message, JSON
//   watch    calls back on a message  server   server.refill({run, from}) answers what is lacking
//   trigger  sends an event to Python: "settle", "pick", "export"; the page's address hears of a
//            rest by the DOM event "gendiff-rest" (page.js)
//   GIVEN    what Python's Player was given: label, placeholder, exports, beside
// The messages are described in runs.py. Frames stay here as raw bytes; nothing but refill asks
// the server again.

// ---- Elements -------------------------------------------------------------------------------

element.innerHTML = MARKUP;
const root = element.querySelector(".gd");
const $ = (name) => root.querySelector(`.gd-${name}`);
const [stage, strip, seekbar, menu, formula, more] = ["stage", "strip", "seek", "menu", "html", "more"].map($);
const said = ["facts", "charts", "code", "html", "remark"].map($);
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

// ---- Receiving ------------------------------------------------------------------------------

// prefix: frames 0..prefix-1 can be shown; reach: the highest index seen. A run that is sent in part
// has keys: all frames can be shown as soon as those are here. goal: the frame that a link names.
const fresh = () => ({
  run: null, start: null, frames: [], n: 0, got: 0, prefix: 0, reach: -1, step: 0, mode: "idle",
  end: null, message: "", began: 0, solo: null, marked: null, cursor: 0, panes: [], charts: [],
  thumbs: [], histogram: null, formula: "", keys: null, fade: null, between: null, goal: null, lined: -1,
});
let S = fresh();
let speed = 1, loopChoice = null, filling = null, heardAt = 0;
const gone = new Set(); // runs that were replaced: what still comes for them is dropped
const seen = new Set(); // messages: gradio repeats the last one when a handler ends

function receive(message, refilled = false) {
  if (!message?.op || seen.has(message.id)) return;
  if (message.id) seen.add(message.id);
  heardAt = performance.now(); // not later: a slow device must not take one message for a slow run
  for (const op of message.op === "batch" ? message.ops : [message]) {
    if (op.op === "idle") { if (!op.ended || S.end) reset({ ...fresh(), message: op.message ?? "" }); }
    else if (op.op === "refused") { if (S.start?.waiting) reset({ ...fresh(), message: op.message }); }
    else if (op.op === "start") begin(op, refilled);
    else if (!accepts(op, refilled)) continue;
    else if (op.op === "frames") keep(op);
    else if (op.op === "end") finish(op);
  }
  const lacking = S.run && (!S.start || S.prefix <= S.reach || (S.end === "done" && S.prefix < S.n));
  if (lacking && !refilled) fill();
  arrive();
  refresh();
}

function accepts(op, refilled) {
  if (op.run == null) return S.run != null; // Stop does not know which run it stops
  if (refilled) return op.run === S.run;
  if (S.end === "stopped" || gone.has(op.run)) return false;
  if (op.run !== S.run) reset({ ...fresh(), run: op.run, mode: "live" }); // its start was missed
  return true;
}

function reset(next) {
  if (S.run && S.run !== next.run) gone.add(S.run);
  gone.delete(next.run);
  S = next;
  clearInterval(lining);
  for (const node of [stage, strip, ...said]) node.replaceChildren();
}

function begin(start, refilled) {
  if (refilled && (start.run !== S.run || S.start)) return;
  const { end, message, step, n } = S;
  reset({ ...fresh(), run: start.run, start, n: start.n, mode: "live", began: heardAt, keys: start.keys });
  if (refilled) Object.assign(S, { end, message });
  if (!start.autoplay && n === start.n) S.step = step; // another seed, the same place
  S.goal = linked(start);
  S.panes = start.panes.map((spec) => {
    const pane = { ...spec, size: spec.h * spec.w * spec.c };
    pane.figure = make("figure", "gd-pane", null, stage);
    writeMath(make("figcaption", "", null, pane.figure), spec.title);
    const frame = make("div", "gd-frame", null, pane.figure);
    pane.canvas = make("canvas", "", null, frame);
    pane.canvas.setAttribute("role", "img");
    pane.canvas.setAttribute("aria-label", [start.label, spec.title].filter(Boolean).join(": "));
    pane.tiles = make("div", "gd-tiles", null, frame);
    return pane;
  });
  for (const pane of S.panes) if (pane.previous) pane.source = S.panes.findIndex(({ id }) => id === pane.previous);
  if (start.fade) S.fade = { ...start.fade, x0: floats(start.fade.x0), eps: floats(start.fade.eps) };
  if (start.speeds) offerSpeeds(start.speeds);
  for (const line of start.code) make("code", "", line, make("li", "", null, $("code")));
  buildCharts();
  layout();
}

function offerSpeeds(speeds) { // the chosen one stays, if there is such a one
  const picker = $("speed");
  if (speeds.join() !== [...picker.options].map((option) => option.value).join()) {
    picker.replaceChildren(...speeds.map((x) => Object.assign(make("option", "", `${x}×`), { value: x })));
  }
  speed = speeds.includes(speed) ? speed : 1;
  picker.value = speed;
}

function buildCharts() { // one for each unit: curves of one unit share it
  const axis = S.start.axis ?? [...Array(S.start.n).keys()], units = new Map();
  S.start.curves.forEach((curve, i) => units.set(curve.unit || i, [...(units.get(curve.unit || i) ?? []), curve]));
  // Under a formula, with the algorithm beside it, there is room for a wide one.
  const box = S.start.code.length && root.clientWidth > 50 * em() ? WIDE : BOX;
  S.charts = [...units.values()].map((curves) => lineChart($("charts"), curves, axis, S.start.axis_label, box, seek));
}

// The frame that a link names (?tab=denoise&step=7): the run that the link starts rests there.
let arrival = null;
function linked(start) {
  // page.js keeps the link before it rewrites the address; a quick example may come before that.
  arrival ??= new URLSearchParams(window.gendiffArrival ?? location.search);
  if (`tab-${arrival.get("tab")}` !== root.closest("[role=tabpanel]")?.id) return null;
  const frame = parseInt(arrival.get(start.noun), 10) - start.first;
  if (!start.waiting) arrival = new URLSearchParams(); // a later run is not the link's
  return frame >= 0 && frame < start.n && start.n > 1 ? frame : null;
}

function keep({ k, frames }) {
  if (!S.start) return; // the refill brings it again, after the start
  const sent = S.panes.filter((pane) => !pane.previous);
  frames.forEach(({ pixels, kept = [], ...said }, i) => {
    const place = Array.isArray(k) ? k[i] : k + i;
    if (place >= S.start.n || S.frames[place]) return;
    S.reach = Math.max(S.reach, place);
    const before = S.frames[place - 1];
    if (kept.length && !before) return; // the refill brings it again, after the one before
    const bytes = decode(pixels), parts = [];
    let at = 0;
    sent.forEach((pane, index) => {
      const own = S.panes.indexOf(pane);
      parts[own] = kept.includes(index) ? before.parts[own] : bytes.subarray(at, (at += pane.size * pane.count));
    });
    if (bytes.length !== at) throw new Error(`frame ${place}: ${bytes.length} bytes instead of ${at}`);
    S.frames[place] = { parts, ...said };
    S.got++;
  });
  if (S.keys) S.prefix = S.keys.every((key) => S.frames[key]) ? S.n : 0;
  else while (S.frames[S.prefix]) S.prefix++;
  // The first moment shows frame 0: a run that comes at once must not flash its last frame.
  if (S.mode === "live" && heardAt - S.began > 250) S.step = Math.max(S.prefix - 1, 0);
}

function finish(op) {
  if (S.end) return;
  S.end = op.state;
  S.message = op.message || "";
  if (op.state === "done" && op.n && !S.keys) S.n = op.n;
}

function arrive() { // the run is over and all of it is here: rest, or play what came too fast to see
  if (!S.start || !S.end || S.mode !== "live") return;
  if (S.end === "done" && S.prefix < S.n) return;
  const atOnce = S.end === "done" && S.n > 1 && heardAt - S.began < 400;
  if (S.goal !== null) { seek(S.goal); S.goal = null; }
  else if (S.n > 1 && !S.start.autoplay) { S.mode = "paused"; if (S.keys) rest(S.step > 0); }
  else if (atOnce && !still.matches) { S.step = 0; play(); }
  else { S.step = Math.max(S.prefix - 1, 0); S.mode = S.end; say(spoken()); }
}

async function fill() { // messages that came before this player was in the page
  const run = S.run;
  if (filling === run || !server.refill) return;
  filling = run;
  try {
    for (let before = -1; S.run === run && S.got > before;) {
      before = S.got;
      const lacking = S.keys ? S.keys.find((key) => !S.frames[key]) : S.prefix;
      const reply = await server.refill({ run, from: lacking ?? S.n });
      if (S.run !== run) return;
      if (!reply) { S.message = S.start ? "Some steps were lost." : "This run is no longer kept."; break; }
      S.began = performance.now();
      receive(reply, true);
      if (S.end ? S.prefix >= S.n : S.prefix > S.reach) break;
    }
  } finally {
    if (filling === run) filling = null;
  }
  if (S.run !== run) return;
  if (!S.start) S.mode = "idle";
  else if (S.end === "done" && S.prefix) S.n = S.prefix; // what the server no longer has is lost
  else if (S.keys && S.got) { S.keys = Object.keys(S.frames).map(Number); S.prefix = S.n; }
  arrive();
  refresh();
}

// ---- Layout ---------------------------------------------------------------------------------

const shown = (pane) => (S.solo === null ? [...Array(pane.count).keys()] : [Math.min(S.solo, pane.count - 1)]);
const named = () => S.start.captions.length > 0 && (S.solo !== null || S.start.caption_mode === "always");
const captionRoom = () => (named() ? 1.5 * em() : 0);
const em = () => parseFloat(getComputedStyle(root).fontSize);
let narrow = null, folded = null;
const zoom = () => root.currentCSSZoom ?? 1; // a page may enlarge itself on a projector

function layout() {
  const full = root.hasAttribute("data-full"), tall = window.innerHeight / zoom(), count = S.panes.length;
  const beside = GIVEN.beside && !full && S.charts.length > 0 && root.clientWidth > 50 * em() && tall < 70 * em();
  root.toggleAttribute("data-beside", beside);
  const width = stage.clientWidth;
  if (!width || !count) return;
  narrow = root.clientWidth < 35 * em();
  const long = S.start.code.length + S.start.curves.length > 0;
  if (folded !== (folded = narrow && long)) more.open = !folded; // on a phone
  const gap = 1.25 * em(), title = 1.9 * em();
  // What is above and below the pictures keeps its room, so that the transport and the numbers stay
  // in view; a low window gets no less than a third of it.
  const part = S.n > 1 ? 0.56 : 0.66;
  const spare = tall - (S.n > 1 ? 24 : narrow ? 20 : 17) * em();
  const height = full ? Math.max(stage.clientHeight, 160) : clamp(spare, 0.34 * tall, part * tall);
  let best = { score: 0 };
  for (let across = count; across >= 1; across--) {
    const down = Math.ceil(count / across);
    if (across > 1 && width / across < 8 * em()) continue; // the titles need that much
    const cell = [(width - gap * (across - 1)) / across, (height - gap * (down - 1)) / down - title];
    const fits = S.panes.map((pane) => fit(pane, shown(pane).length, ...cell, captionRoom()));
    const score = Math.min(...fits.map((f, i) => f.scale * S.panes[i].w));
    if (score > best.score * (full ? 1 : 1.15)) best = { score, fits, across };
  }
  if (!best.fits) return;
  stage.style.setProperty("--gd-across", best.across);
  S.panes.forEach((pane, i) => place(pane, best.fits[i]));
  buildStrip();
  paint(); // now: a canvas that was resized is empty
}

function place(pane, { scale, across, rows, gap }) {
  const unit = snap(scale, devicePixelRatio * zoom()), { canvas, w, h } = pane;
  // Captions lie in the gap under each picture; where they are wider, the word that all begin with is
  // left out, and where that is not enough, they only show on hover.
  const whole = S.start.captions, word = `${whole[0]?.split(" ", 1)[0]} `;
  const fits = (texts) => Math.max(...texts.map((text) => text.length)) * 0.45 * em() < w * unit;
  const brief = whole.every((text) => text.startsWith(word)) ? whole.map((text) => text.slice(word.length)) : whole;
  pane.named = named() && fits(brief);
  pane.captions = pane.named && !fits(whole) ? brief : whole;
  const down = gap + (pane.named ? Math.ceil(captionRoom() / unit) : 0);
  Object.assign(pane, { across, gap, down });
  canvas.width = across * w + (across - 1) * gap;
  canvas.height = rows * h + (rows - 1) * down;
  canvas.style.width = `${canvas.width * unit}px`;
  canvas.parentNode.style.paddingBottom = pane.named ? "1.5em" : "";
  pane.context = canvas.getContext("2d");
  pane.image = pane.context.createImageData(canvas.width, canvas.height);
  pane.pixels = new Uint32Array(pane.image.data.buffer);
  placeTiles(pane, canvas.width, canvas.height);
}

function placeTiles(pane, width, height) {
  const focused = pane.tiles.contains(document.activeElement);
  const first = pane === S.panes[0];
  pane.tiles.replaceChildren(...(pane.count < 2 ? [] : shown(pane).map((tile, i) => {
    const node = make("button", "gd-tile");
    node.type = "button";
    Object.assign(node.dataset, { act: "tile", tile });
    node.tabIndex = first && (S.solo !== null || tile === S.cursor) ? 0 : -1;
    const name = `Picture ${tile + 1}${S.start.captions[tile] ? `: ${S.start.captions[tile]}` : ""}`;
    node.setAttribute("aria-label", S.solo === null ? name : `${name}. Back to all ${pane.count}`);
    node.setAttribute("aria-pressed", String(S.solo === tile || S.marked === tile));
    if (S.start.captions[tile]) make("span", "gd-caption", pane.captions[tile], node);
    const x = (i % pane.across) * (pane.w + pane.gap), y = Math.floor(i / pane.across) * (pane.h + pane.down);
    const percent = { left: x / width, top: y / height, width: pane.w / width, height: pane.h / height };
    for (const [side, part] of Object.entries(percent)) node.style[side] = `${100 * part}%`;
    return node;
  })));
  pane.tiles.classList.toggle("gd-named", pane.named);
  if (focused) (pane.tiles.querySelector(`[data-tile="${S.cursor}"]`) || pane.tiles.firstChild).focus();
}

function buildStrip() { // thumbnails along the run, each at the place of its frame
  const least = (window.innerHeight / zoom() < 48 * em() ? 2.75 : 3.5) * em(); // smaller on a projector
  const wanted = S.start.strip === null || S.n < 3 ? 0 : Math.min(S.n, clamp(Math.floor(seekbar.clientWidth / least), 5, 14));
  if (S.thumbs.length !== wanted) {
    strip.replaceChildren();
    S.thumbs = Array.from({ length: wanted }, (_, i) => {
      const { w, h } = S.panes[S.start.strip], even = Math.round((i * (S.n - 1)) / (wanted - 1));
      const k = S.keys ? S.keys[nearest(S.keys, even)] : even;
      const node = make("button", "gd-thumb", null, strip);
      Object.assign(node, { type: "button", tabIndex: -1, title: `${S.start.noun} ${k + S.start.first}` });
      Object.assign(node.dataset, { act: "go", to: k });
      const canvas = make("canvas", "", null, node);
      return { k, node, canvas: Object.assign(canvas, { width: w, height: h }), tile: null };
    });
  }
}

// ---- Painting -------------------------------------------------------------------------------

// A frame between the keys: what `fade` computes; the other panes are those of the nearest key.
function frameAt(k) {
  if (S.frames[k] || !S.keys) return S.frames[k];
  if (S.between?.k === k) return S.between;
  const key = S.frames[S.keys[nearest(S.keys, k)]];
  const facts = Object.fromEntries(Object.keys(key.facts).map((name) => [name, "…"]));
  S.between = { ...key, k, facts, parts: [...key.parts], lacking: true };
  if (S.fade) {
    const own = S.panes.findIndex(({ id }) => id === S.fade.pane), values = new Float64Array(S.fade.x0.length);
    S.between.parts[own] = fade(S.fade, S.fade.signal[k], S.fade.noise[k], values);
    if (key.hist) S.between.hist = histogramOf(values, key.hist);
  }
  return S.between;
}

// A pane that repeats another one shows the frame before: grey at first.
function bytesOf(pane, k) { // of all its pictures
  if (pane.previous == null) return frameAt(k).parts[S.panes.indexOf(pane)];
  return k > 0 ? S.frames[k - 1].parts[pane.source] : (pane.grey ??= new Uint8Array(pane.size * pane.count).fill(128));
}

function paintPane(pane, k) {
  const stride = pane.canvas.width, bytes = bytesOf(pane, k);
  shown(pane).forEach((tile, i) => {
    const offset = Math.floor(i / pane.across) * (pane.h + pane.down) * stride + (i % pane.across) * (pane.w + pane.gap);
    blit(bytes, tile * pane.size, pane, pane.pixels, offset, stride);
  });
  pane.context.putImageData(pane.image, 0, 0);
}

function paintStrip() {
  const pane = S.panes[S.start.strip], tile = pane ? Math.min(S.solo ?? S.marked ?? 0, pane.count - 1) : 0;
  const here = Math.round((S.step / (S.n - 1)) * (S.thumbs.length - 1));
  S.thumbs.forEach((thumb, i) => {
    thumb.node.classList.toggle("gd-here", i === here);
    thumb.node.disabled = !S.frames[thumb.k];
    if (thumb.tile === tile || !S.frames[thumb.k]) return;
    const context = thumb.canvas.getContext("2d"), image = context.createImageData(pane.w, pane.h);
    blit(bytesOf(pane, thumb.k), tile * pane.size, pane, new Uint32Array(image.data.buffer), 0, pane.w);
    context.putImageData(image, 0, 0);
    thumb.tile = tile;
  });
}

// A run that comes in is painted eight times a second at most: the page has to hear a hand, too.
let queued = false, later = 0, painted = -Infinity;
function refresh() {
  Object.assign(root.dataset, { state: S.mode, run: S.run ?? "", step: S.step, got: S.got, n: S.n });
  clearTimeout(later);
  const wait = S.mode === "live" ? painted + 125 - performance.now() : 0;
  if (wait > 0) later = setTimeout(refresh, wait);
  else if (!queued) { queued = true; requestAnimationFrame(paint); }
}

function paint() {
  queued = false;
  painted = performance.now();
  const k = Math.min(S.step, S.prefix - 1), frame = S.prefix ? frameAt(k) : null;
  root.toggleAttribute("data-single", S.n < 2);
  paintTransport();
  if (!frame || !stage.clientWidth) return;
  if (!S.panes[0].context) return layout(); // it was built in a closed tab
  for (const pane of S.panes) {
    paintPane(pane, k);
    pane.figure.classList.toggle("gd-old", Boolean(frame.lacking) && pane.id !== S.fade?.pane);
  }
  paintStrip();
  paintInfo(frame, k);
}

const whereabouts = (of) => `${S.start.noun} ${S.step + S.start.first} ${of} ${S.n - 1 + S.start.first}`;
function spoken() { // what a screen reader hears
  if (!S.start) return "empty";
  if (S.mode === "stopped") return status();
  const t = S.start.noun === "t" ? null : S.frames[S.step]?.facts?.t;
  return `${whereabouts("of")}${t == null ? "" : `, t = ${t}`}${S.mode === "done" ? ", done" : ""}`;
}

function status() {
  if (S.message && S.mode !== "live") return S.message;
  if (!S.start) return "";
  if (S.mode === "live") return "Running";
  if (!S.end) return `Running on: ${S.prefix} of ${S.n} received`;
  return S.end === "stopped" ? `Stopped after ${S.prefix} of ${S.n}` : "";
}

function paintTransport() {
  const on = S.prefix > 0, playing = S.mode === "playing" || S.mode === "live", last = S.prefix - 1;
  root.setAttribute("aria-label", S.start?.label || GIVEN.label || "Player");
  seekbar.max = Math.max(S.n - 1, 0);
  seekbar.value = S.step;
  seekbar.setAttribute("aria-label", S.start?.noun ?? "step");
  seekbar.setAttribute("aria-valuetext", spoken());
  seekbar.style.setProperty("--gd-at", S.step / Math.max(S.n - 1, 1));
  seekbar.style.setProperty("--gd-have", Math.max(last, 0) / Math.max(S.n - 1, 1));
  for (const control of root.querySelectorAll(".gd-keys button, .gd-tools button, .gd-seek")) control.disabled = !on;
  $("play").classList.toggle("gd-on", playing);
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  $("play").title = playing ? "Pause (space)" : "Play (space)";
  root.querySelector("[data-act=loop]").setAttribute("aria-pressed", String(looping()));
  setText($("where"), S.start ? whereabouts("/") : "");
  setText($("status"), status());
  setText($("note"), S.start?.note ?? "");
  $("foot").hidden = S.solo === null && !S.start?.note;
  setText($("empty"), S.start ? "" : S.message || (S.mode === "live" ? "Loading" : GIVEN.placeholder));
  $("all").hidden = S.solo === null;
  if (S.solo !== null) setText($("all").lastChild, `All ${S.panes[0].count}`);
}

function paintInfo(frame, k) {
  const known = Object.entries(S.start.facts).map(([name, values]) => [name, values[k]]);
  writeFacts($("facts"), { ...Object.fromEntries(known), ...frame.facts });
  formula.classList.toggle("gd-old", Boolean(frame.lacking));
  if (S.formula !== frame.html) writeFormula(frame.html);
  if (frame.hist) (S.histogram ??= histogramChart($("charts"), frame.hist))(frame.hist);
  for (const moveMarker of S.charts) moveMarker(S.step);
  paintLines(frame, k);
}

function writeFormula(html) { // what it says of the algorithm stands under that
  const parts = [...clean((S.formula = html))], notes = parts.filter((node) => node.classList?.contains("note"));
  formula.replaceChildren(...parts.filter((node) => !notes.includes(node)));
  $("remark").replaceChildren(...notes);
}

// The lines of code that a frame carries out. Where there is time for it, one after the other; then,
// and at once where there is none, the last: it makes what the frame shows.
let lining = 0;
function paintLines({ line }, k) {
  if (S.lined === k) return;
  S.lined = k;
  clearInterval(lining);
  const lines = Array.isArray(line) ? line : [line], pace = 1000 / (rate() * speed);
  const slow = !still.matches && S.mode !== "live" && (S.mode !== "playing" || pace >= 450);
  let at = slow ? 0 : lines.length - 1;
  const beat = S.mode === "playing" ? pace / lines.length : 450;
  markLine(lines[at]);
  if (at < lines.length - 1) lining = setInterval(() => {
    markLine(lines[++at]);
    if (at >= lines.length - 1) clearInterval(lining);
  }, beat);
}

function markLine(line) { // and the pane that it makes
  [...$("code").children].forEach((node, i) => {
    if (i === line) node.setAttribute("aria-current", "true"); else node.removeAttribute("aria-current");
  });
  for (const { id, figure } of S.panes) figure.classList.toggle("gd-made", id === (S.start.lines[line] ?? ""));
}

// ---- Playing --------------------------------------------------------------------------------

let clock = 0, ticking = 0, resting = 0;
const rate = () => S.start.fps ?? clamp((S.keys ?? { length: S.n }).length / 6, 4, 60);
const looping = () => loopChoice ?? S.start?.loop ?? false;

function play() {
  if (S.n < 2 || !S.prefix) return;
  if (S.step >= S.prefix - 1 && !S.end) S.mode = "live"; // nothing newer: wait for it
  else {
    if (S.step >= S.prefix - 1) S.step = 0;
    S.mode = "playing";
    clock = performance.now();
    cancelAnimationFrame(ticking);
    ticking = requestAnimationFrame(tick);
  }
  refresh();
}

function tick(now) {
  if (S.mode !== "playing" || !root.isConnected) return;
  const pace = (rate() * speed) / 1000, count = S.keys?.length ?? S.prefix; // keys alone are played
  let steps = Math.floor((now - clock) * pace);
  clock += steps / pace;
  if (now - clock > 1000) [clock, steps] = [now, 1]; // the page was in the background
  if (steps > 0) {
    let to = (S.keys ? nearest(S.keys, S.step) : S.step) + steps;
    if (to >= count && S.end && looping()) to %= count;
    else if (to >= count) { to = count - 1; S.mode = S.end ?? "live"; if (S.end) rest(false); }
    S.step = S.keys ? S.keys[to] : to;
    refresh();
  }
  ticking = requestAnimationFrame(tick);
}

function pause() {
  S.mode = "paused";
  rest();
  refresh();
}

function seek(step) { // by a person: it stops following and playing
  if (S.n < 2 || !S.prefix) return;
  S.step = clamp(step, 0, S.prefix - 1);
  pause();
}

// A frame stays on show now: the server may add to it. Where a hand chose it, the address names it.
function rest(byHand = true) {
  const { run } = S;
  clearTimeout(resting);
  resting = setTimeout(() => {
    if (run !== S.run || S.mode === "playing" || S.mode === "live") return;
    trigger("settle", { run, frame: S.step, here: Boolean(S.frames[S.step]) });
    const detail = { noun: S.start.noun, number: byHand ? S.step + S.start.first : null };
    root.dispatchEvent(new CustomEvent("gendiff-rest", { bubbles: true, detail }));
    say(spoken());
  }, 150);
}

function say(text) { setText($("live"), text); }

// ---- Actions --------------------------------------------------------------------------------

function pick(tile) {
  const zoom = (S.start.pick ?? (S.n > 1 ? "zoom" : "mark")) === "zoom";
  if (zoom && S.solo !== null) return showAll();
  S.cursor = tile;
  S[zoom ? "solo" : "marked"] = tile;
  layout();
  say(`Picture ${tile + 1} ${S.start.captions[tile] ?? ""}`);
  trigger("pick", { run: S.run, tile, frame: S.step });
}

function showAll() {
  if ($("all").contains(document.activeElement)) root.focus(); // it goes away
  S.solo = null;
  layout();
}

function moveCursor(key, pane) { // arrows in a grid
  const to = S.cursor + { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -pane.across, ArrowDown: pane.across }[key];
  if (!(to >= 0 && to < pane.count)) return;
  S.cursor = to;
  for (const node of S.panes[0].tiles.children) node.tabIndex = Number(node.dataset.tile) === to ? 0 : -1;
  pane.tiles.children[to].focus();
}

function toggleFull() {
  const on = root.toggleAttribute("data-full");
  // Where the browser has no full screen (an iPhone), filling the window has to do.
  if (on && root.requestFullscreen) root.requestFullscreen().catch(() => {});
  if (!on && document.fullscreenElement === root) document.exitFullscreen();
  layout();
}

function savePng() {
  sideBySide(S.panes.map(({ canvas }) => canvas)).toBlob((blob) => {
    const link = Object.assign(make("a"), { href: URL.createObjectURL(blob), download: `${S.start.noun}-${S.step + S.start.first}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

const ACTIONS = {
  first: () => seek(0), last: () => seek(S.prefix - 1),
  back: () => seek(S.step - 1), forward: () => seek(S.step + 1),
  play: () => (S.mode === "playing" || S.mode === "live" ? pause() : play()),
  go: ({ to }) => seek(Number(to)), tile: ({ tile }) => pick(Number(tile)), all: showAll,
  loop: () => { loopChoice = !looping(); refresh(); },
  full: toggleFull,
  png: savePng,
  save: ({ format }) => trigger("export", { run: S.run, frame: S.step, tile: S.solo, format }),
};

const KEYS = {
  ArrowLeft: (shift) => seek(S.step - (shift ? 10 : 1)), ArrowRight: (shift) => seek(S.step + (shift ? 10 : 1)),
  Home: ACTIONS.first, End: ACTIONS.last, " ": ACTIONS.play, f: toggleFull, F: toggleFull,
  Escape: () => (S.solo !== null ? showAll() : root.hasAttribute("data-full") && toggleFull()),
};

// ---- Events ---------------------------------------------------------------------------------

function inView(node) {
  const box = node.getBoundingClientRect();
  return box.width > 0 && box.bottom > 0 && box.top < window.innerHeight;
}

function onKey(event) {
  if (!root.isConnected) return document.removeEventListener("keydown", onKey);
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || !S.prefix) return;
  const focus = document.activeElement, { key } = event;
  // With the focus nowhere, keys go to a player only if it is the one in view.
  const alone = () => inView(root) && [...document.querySelectorAll(".gd")].filter(inView).length === 1;
  if (!root.contains(focus) && !(focus === document.body && alone())) return;
  if (focus.matches(".gd-speed, .gd-menu *") && key !== "Escape") return;
  if (focus.matches("button") && key === " ") return; // it presses the button
  const tile = focus.closest(".gd-tile");
  if (key === "Escape" && menu.open) menu.open = false;
  else if (key.startsWith("Arrow") && S.solo === null && (tile || (S.n < 2 && focus === root))) moveCursor(key, paneOf(tile));
  else if (KEYS[key] && (S.n > 1 || /^(f|escape)$/i.test(key))) KEYS[key](event.shiftKey);
  else return;
  event.preventDefault();
}

const paneOf = (tile) => S.panes.find((pane) => pane.tiles.contains(tile)) ?? S.panes[0];

root.addEventListener("click", (event) => {
  const { act, ...data } = event.target.closest("[data-act]")?.dataset ?? {};
  if (menu.open && !event.target.closest("summary")) menu.open = false;
  if (S.prefix) ACTIONS[act]?.(data);
});
root.addEventListener("pointerdown", (event) => { // a click on a picture leaves the keys to the player
  if (!event.target.closest(".gd-stage, .gd-strip, .gd-chart svg")) return;
  event.preventDefault();
  root.focus({ preventScroll: true });
});
seekbar.addEventListener("input", () => seek(Number(seekbar.value)));
$("speed").addEventListener("change", (event) => { speed = Number(event.target.value); });
menu.addEventListener("focusout", ({ relatedTarget }) => { if (!menu.contains(relatedTarget)) menu.open = false; });
document.addEventListener("keydown", onKey);
root.addEventListener("fullscreenchange", () => {
  root.toggleAttribute("data-full", document.fullscreenElement === root);
  layout();
});
new ResizeObserver(layout).observe(stage);
window.addEventListener("resize", layout);

const offers = menu.lastElementChild, FORMATS = {
  gif: "Whole run (GIF)", webp: "Whole run (WebP)", mp4: "Whole run (MP4)", png: "Strip of frames (PNG)",
};
function offer(text, data) {
  const item = make("button", "", text, offers);
  item.type = "button";
  Object.assign(item.dataset, data);
}
offer("This picture (PNG)", { act: "png" });
for (const format of GIVEN.exports) offer(FORMATS[format] ?? format, { act: "save", format });

const hear = () => props.value && receive(JSON.parse(props.value));
watch("value", hear);
hear();
refresh();
