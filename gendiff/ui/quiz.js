// Browser side of the blind test (compare_quiz.py, quiz_service.py). props.value is {data, seed},
// JSON; server.* are the functions of quiz_service. All text goes into the page as text.
"use strict";

const KINDS = ["real", "gan", "diffusion"], NAMES = { real: "Real", gan: "GAN", diffusion: "Diffusion" };
const ROUND = 10, POLL = 1500;

element.innerHTML = `
  <section class="qz cp-card" role="group" aria-label="Blind test" tabindex="-1">
    <ol class="qz-dots" aria-hidden="true"></ol>
    <div class="qz-body"></div>
    <p class="qz-note cp-small"></p>
    <details class="qz-class"><summary>Play with a class</summary><div>
      <button type="button" class="qz-open">Open a room</button>
      <form class="qz-join"><input name="code" aria-label="Room code" placeholder="Room code" maxlength="12" autocomplete="off" autocapitalize="characters" spellcheck="false"><button>Join</button></form>
    </div></details>
    <div class="qz-room" hidden></div>
    <p class="qz-live" aria-live="polite"></p>
  </section>`;
const root = element.querySelector(".qz");
const [dots, body, note, room, live] = ["dots", "body", "note", "room", "live"].map((name) => root.querySelector(`.qz-${name}`));
const still = (text) => { live.textContent = text; };

let game = null, member = null, polling = 0; // member: {code, token} of a visitor in a room

function put(tag, name, text, parent) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text != null) node.textContent = text;
  parent?.append(node);
  return node;
}

function press(name, text, parent, act) {
  const node = put("button", name, text, parent);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

async function ask(name, what) { // an answer, or null after its error was shown
  try {
    const reply = await server[name](what);
    if (!reply.error) return reply;
    fail(reply.error);
  } catch {
    fail("The server did not answer; try again.");
  }
  return null;
}

function fail(text) {
  root.querySelector(".qz-error")?.remove();
  const node = put("p", "qz-error", text);
  node.setAttribute("role", "alert");
  body.before(node);
}

// ---- The ten pictures -----------------------------------------------------------------------

async function begin({ data, seed }, answered = {}) {
  const mine = (game = { data, seed, k: 0, answers: Array(ROUND).fill(null), truths: [], pictures: null });
  root.querySelector(".qz-error")?.remove();
  const reply = await ask("begin", { data, seed });
  if (!reply || mine !== game) return;
  Object.assign(game, reply);
  for (const [place, said] of Object.entries(answered)) game.answers[place] = said;
  note.textContent = `Quiz ${seed}. ${reply.note}`;
  game.k = game.answers.indexOf(null);
  if (game.k < 0) return end();
  question();
}

function paintDots() {
  dots.replaceChildren(...game.answers.map((said, i) => {
    const right = said && game.truths[i] && said === game.truths[i];
    const dot = put("li", said ? (game.truths[i] ? (right ? "qz-right" : "qz-wrong") : "qz-done") : "", said && game.truths[i] ? (right ? "✓" : "✗") : String(i + 1));
    dot.toggleAttribute("data-here", i === game.k);
    return dot;
  }));
}

function picture(url, title, parent) {
  const figure = put("figure", "", null, parent);
  const image = put("img", "", null, figure);
  Object.assign(image, { src: url, alt: title });
  return figure;
}

function question() {
  paintDots();
  body.replaceChildren();
  put("h3", "", `Picture ${game.k + 1} of ${ROUND}: real, GAN or diffusion?`, body);
  picture(game.pictures[game.k], "What is it?", put("div", "qz-pictures", null, body));
  const row = put("div", "qz-answers", null, body);
  KINDS.forEach((kind, i) => {
    const node = press(`qz-${kind}`, "", row, () => answer(kind));
    put("kbd", "", String(i + 1), node);
    node.append(NAMES[kind]);
  });
  still(`Picture ${game.k + 1} of ${ROUND}. Press 1 for real, 2 for GAN, 3 for diffusion.`);
}

async function answer(said) {
  const mine = game, place = game.k;
  if (!game.pictures || game.answers[place] || game.busy) return;
  game.busy = true;
  const { data, seed } = game;
  const truth = await ask("answer", { data, seed, place, said, ...member });
  mine.busy = false;
  if (!truth || mine !== game) return;
  game.answers[place] = said;
  game.truths[place] = truth.kind;
  reveal(said, truth);
  if (truth.room) fail(truth.room); // the room has closed; the quiz goes on
}

function reveal(said, truth) {
  paintDots();
  const right = said === truth.kind;
  body.replaceChildren();
  const head = put("h3", right ? "qz-right" : "qz-wrong", `${right ? "✓ Right" : "✗ Wrong"}: ${NAMES[truth.kind]}`, body);
  put("small", "", right ? "" : ` (you said ${NAMES[said]})`, head);
  const row = put("div", "qz-pictures", null, body);
  const near = `Its nearest training picture, ${truth.rms} away. A real test picture is usually ${truth.usual} away from its own.`;
  put("figcaption", "", `It is ${truth.what}.`, picture(game.pictures[game.k], "The picture", row));
  put("figcaption", "", near, picture(truth.nearest, "Its nearest training picture", row));
  const last = game.k === ROUND - 1 || game.answers.every(Boolean);
  const next = press("qz-next", "", put("div", "qz-answers", null, body), step);
  next.append(last ? "Result" : "Next picture");
  put("kbd", "", "Enter", next);
  still(`${head.textContent}. It is ${truth.what}.`);
}

function step() {
  const open = game.answers.indexOf(null);
  if (open < 0) return end();
  game.k = open;
  question();
}

async function end() {
  const { data, seed, answers } = game, mine = game;
  const result = await ask("finish", { data, seed, answers });
  if (!result || mine !== game) return;
  game.over = true;
  game.k = -1;
  paintDots();
  body.replaceChildren();
  put("h3", "", `${result.right} of ${result.answers} right`, body);
  interval(result, body);
  matrix(result.confusion, body, "Truth, and what you said");
  still(`${result.right} of ${result.answers} right.`);
}

const percent = (x) => `${Math.round(100 * x)} %`;

function interval({ right, answers, low, high, better }, parent) {
  const bar = put("div", "qz-interval", null, parent);
  bar.setAttribute("aria-hidden", "true");
  const span = put("b", "", null, bar);
  span.style.left = `${100 * low}%`;
  span.style.width = `${100 * (high - low)}%`;
  if (answers) put("i", "qz-mean", null, bar).style.left = `${(100 * right) / answers}%`;
  put("i", "qz-chance", "guessing", bar).style.left = `${100 / 3}%`;
  const verdict = better === true ? "better than guessing: there is a difference to see"
    : better === false ? "worse than guessing: something looks more real than it is" : "which guessing could reach, too";
  put("p", "", `With 95 % confidence, between ${percent(low)} and ${percent(high)} of very many pictures: ${verdict}.`, parent);
}

function matrix(confusion, parent, title) {
  const table = put("table", "cp-table qz-matrix", null, parent);
  const top = put("tr", "", null, put("thead", "", null, table));
  put("th", "", title, top);
  for (const kind of KINDS) put("th", "", `said ${NAMES[kind]}`, top).scope = "col";
  const rows = put("tbody", "", null, table);
  confusion.forEach((counts, i) => {
    const row = put("tr", "", null, rows), all = counts.reduce((a, b) => a + b, 0) || 1;
    put("th", "", NAMES[KINDS[i]], row).scope = "row";
    counts.forEach((count, j) => {
      const cell = put("td", i === j ? "qz-hit" : "", String(count), row);
      cell.style.setProperty("--qz-share", count / all);
    });
  });
}

// ---- A class in one room --------------------------------------------------------------------

const remembered = (code) => { try { return sessionStorage.getItem(`gendiff-room-${code}`); } catch { return null; } };
const remember = (code, token) => { try { sessionStorage.setItem(`gendiff-room-${code}`, token); } catch { /* a closed store: a reload makes a new visitor */ } };

async function join(code) {
  code = code.trim().toUpperCase();
  const reply = await ask("join_room", { code, token: remembered(code) });
  if (!reply) return;
  remember(reply.code, reply.token);
  member = { code: reply.code, token: reply.token };
  root.querySelector(".qz-class").hidden = true;
  room.hidden = false;
  room.replaceChildren();
  put("p", "", `You are in room ${reply.code}. Your answers count there, without a name.`, room);
  begin(reply, reply.answered);
}

async function open() {
  const reply = await ask("open_room", { data: game.data, seed: game.seed });
  if (!reply) return;
  member = null;
  root.dataset.host = reply.code;
  root.querySelector(".qz-class").hidden = true;
  room.hidden = false;
  room.replaceChildren();
  const link = new URL(location.href);
  link.search = new URLSearchParams({ tab: "compare", view: "quiz", room: reply.code });
  put("p", "", "Room", room);
  put("p", "qz-code", reply.code, room);
  const address = put("p", "cp-small", "Join at ", room);
  const anchor = put("a", "", link.href, address);
  Object.assign(anchor, { href: link.href, target: "_blank", rel: "noopener" });
  const truth = press("qz-truth", "Show the truth and the score", room, () => {
    truth.setAttribute("aria-pressed", String(truth.getAttribute("aria-pressed") !== "true"));
    poll(tally, truth);
  });
  truth.setAttribute("aria-pressed", "false");
  const tally = put("div", "qz-tally", null, room);
  tally.dataset.code = reply.code;
  poll(tally, truth);
}

async function poll(tally, truth) {
  clearTimeout(polling);
  if (!tally.isConnected) return;
  if (!document.hidden) {
    const reply = await ask("tally_room", { code: tally.dataset.code });
    if (!tally.isConnected) return;
    if (!reply) return; // the room has closed, and it was said
    show(tally, reply, truth.getAttribute("aria-pressed") === "true");
  }
  polling = setTimeout(() => poll(tally, truth), POLL);
}

function show(tally, reply, truth) {
  tally.replaceChildren();
  const visitors = `${reply.visitors} visitor${reply.visitors === 1 ? "" : "s"}`;
  put("p", "qz-count", `${visitors}, ${reply.answers} answers, ${reply.finished} finished`, tally);
  const list = put("ol", "qz-votes", null, tally);
  reply.said.forEach((counts, place) => {
    const row = put("li", "", null, list), all = counts.reduce((a, b) => a + b, 0);
    const image = put("img", "", null, row);
    Object.assign(image, { src: game.pictures?.[place] ?? "", alt: `Picture ${place + 1}` });
    const bar = put("div", "qz-bar", null, row);
    counts.forEach((count, i) => {
      if (!count) return;
      const part = put("span", `qz-${KINDS[i]}`, `${NAMES[KINDS[i]]} ${count}`, bar);
      part.style.flexGrow = count;
    });
    if (!all) put("span", "qz-none", "no answer yet", bar);
    put("b", "", truth ? NAMES[reply.truths[place]] : "", row);
  });
  put("p", "cp-small", `The room closes in ${reply.minutes} minutes.`, tally);
  if (!truth) return;
  put("h3", "", `${reply.right} of ${reply.answers} right`, tally);
  interval(reply, tally);
  matrix(reply.confusion, tally, "Truth, and what the class said");
}

// ---- Events ---------------------------------------------------------------------------------

root.querySelector(".qz-open").addEventListener("click", open);
root.querySelector(".qz-join").addEventListener("submit", (event) => {
  event.preventDefault();
  join(event.target.elements.code.value);
});

function onKey(event) {
  if (!root.isConnected) return document.removeEventListener("keydown", onKey);
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || !game?.pictures) return;
  if (!root.offsetParent || document.activeElement.matches("input:not([type=radio]), textarea, select, [contenteditable]")) return;
  const kind = KINDS[Number(event.key) - 1];
  if (kind && game.k >= 0 && !game.answers[game.k]) answer(kind);
  else if (event.key === "Enter" && !document.activeElement.matches("button, a, summary")) body.querySelector(".qz-next")?.click();
  else return;
  event.preventDefault();
}
document.addEventListener("keydown", onKey);

const hear = () => {
  const asked = JSON.parse(props.value || "null");
  if (!asked || (member && game) || (game?.data === asked.data && game?.seed === asked.seed)) return;
  begin(asked);
};
watch("value", hear);
const arrived = new URLSearchParams(window.gendiffArrival ?? location.search);
if (arrived.get("view") === "quiz" && arrived.get("room")) join(arrived.get("room"));
else hear();
