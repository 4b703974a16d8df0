// Browser side of the blind test (compare_quiz.py, quiz_service.py): the quiz; quiz_rooms.js, which
// follows it, has the rooms. props.value is {data, seed}, JSON; server.* are the functions of
// quiz_service. All text goes into the page as text.
"use strict";

const KINDS = ["real", "gan", "diffusion"], NAMES = { real: "Real", gan: "GAN", diffusion: "Diffusion" };
const ROUND = 10;

element.innerHTML = `
  <section class="qz cp-card" role="group" aria-label="Blind test" tabindex="-1">
    <details class="qz-play" open><summary></summary>
      <ol class="qz-dots" aria-hidden="true"></ol>
      <div class="qz-body"></div>
      <p class="qz-note cp-small"></p>
    </details>
    <details class="qz-class"><summary>Play with a class</summary><div>
      <button type="button" class="qz-open">Open a room</button>
      <form class="qz-join"><input name="code" aria-label="Room code" placeholder="Room code" maxlength="12" autocomplete="off" autocapitalize="characters" spellcheck="false"><button>Join</button></form>
    </div></details>
    <div class="qz-room" hidden></div>
    <p class="qz-live" aria-live="polite"></p>
  </section>`;
const root = element.querySelector(".qz");
const [play, dots, body, note, room, live] = ["play", "dots", "body", "note", "room", "live"].map((name) => root.querySelector(`.qz-${name}`));
const still = (text) => { live.textContent = text; };

let game = null; // the quiz that is played here
let seat = null; // the place in a room: {code, round, data, seed, title} and a visitor's token, or a host's key

const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

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

async function call(name, what) { // an answer, or {error}; lost: the server did not hear it
  try {
    return await server[name](what);
  } catch {
    return { error: "The server did not answer; try again.", lost: true };
  }
}

async function ask(name, what, lasts) { // an answer, or null after its error was shown
  const reply = await call(name, what);
  if (!reply.error) return reply;
  fail(reply.error, lasts);
  return null;
}

function fail(text, lasts = false) { // lasts: what is wrong with a room stands over another quiz, too
  clear();
  const node = put("p", "qz-error", text);
  node.setAttribute("role", "alert");
  node.toggleAttribute("data-lasts", lasts);
  play.before(node);
}

const clear = (which = ".qz-error") => root.querySelector(which)?.remove();

// ---- The ten pictures -----------------------------------------------------------------------

async function begin({ data, seed }, answered = {}) {
  const mine = (game = { data, seed, k: 0, answers: Array(ROUND).fill(null), truths: [], pictures: null });
  clear(".qz-error:not([data-lasts])");
  const reply = await ask("begin", { data, seed });
  if (!reply || mine !== game) return;
  Object.assign(game, reply);
  for (const [place, said] of Object.entries(answered)) game.answers[place] = said;
  note.textContent = `Quiz ${seed}. ${reply.note}`;
  chosen();
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
  clear();
  const { data, seed } = game;
  const { code, token, round } = seat ?? {};
  const truth = await ask("answer", { data, seed, place, said, ...(token && { code, token, round }) });
  mine.busy = false;
  if (!truth || mine !== game) return;
  game.answers[place] = said;
  game.truths[place] = truth.kind;
  reveal(said, truth);
  if (truth.room) leave(truth.room);
  else if (token && !truth.counted) look(); // the next round may have begun
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
  const table = put("table", "qz-matrix", null, parent);
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
