
// ---- A class in one room: quiz_rooms.js follows quiz.js in one script -------------------------
// A visitor's token is this tab's, so that two tabs are two visitors. The host's key is this
// browser's; which tab is the projector's is that tab's.

const LOOK = 1500, LISTEN = 3000; // ms between two looks at the tally; at the room, for a visitor
let looking = 0;

const store = (area, name, value) => {
  try {
    const place = window[area];
    if (value === undefined) return place.getItem(name);
    if (value === null) place.removeItem(name);
    else place.setItem(name, value);
  } catch { /* a closed store: a reload makes a new visitor, and no host */ }
  return null;
};
const keep = (code) => { // in the address, from now on; null: no longer
  if (window.gendiffKeep) window.gendiffKeep("compare", "room", code);
  else (window.gendiffKept ??= {}).compare = code ? { room: code } : {}; // page.js has not run yet
};
const hosted = (code) => store("localStorage", `gendiff-host-${code}`);

async function join(code) { // whether there is such a room
  code = code.trim().toUpperCase();
  const reply = await ask("join_room", { code, token: store("sessionStorage", `gendiff-room-${code}`) }, true);
  if (!reply) return false;
  store("sessionStorage", `gendiff-room-${code}`, reply.token);
  const { answered, ...place } = reply;
  sit(place);
  begin(reply, answered);
  return true;
}

async function open() {
  const reply = await ask("open_room", { data: game.data, seed: game.seed });
  if (!reply) return;
  store("localStorage", `gendiff-host-${reply.code}`, reply.key);
  sit(reply);
}

async function host(code) { // back to the tally of a room that this browser opened
  const reply = await ask("tally_room", { code }, true);
  if (!reply) return false;
  sit({ ...reply, key: hosted(code) });
  return true;
}

function sit(place) { // take a seat, a visitor's or the host's
  seat = place;
  clear();
  root.querySelector(".qz-class").hidden = true;
  root.dataset.seat = seat.key ? "host" : "visitor";
  play.open = !seat.key; // the projector is for the tally
  store("sessionStorage", `gendiff-hosts-${seat.code}`, seat.key ? "yes" : null);
  keep(seat.code);
  room.hidden = false;
  room.replaceChildren();
  if (seat.key) stage();
  else {
    put("p", "qz-plays", null, room);
    put("p", "cp-small", "Your answers count there, without a name. When the host starts another quiz, it opens here.", room);
  }
  put("p", "qz-news", "", room).setAttribute("role", "status");
  const row = put("div", "qz-row", null, room);
  if (seat.key) {
    const show = press("qz-truth", "Show the truth and the score", row, () => {
      show.setAttribute("aria-pressed", String(!truth()));
      look();
    });
    show.setAttribute("aria-pressed", "false");
    press("qz-start", "", row, start);
  } else if (hosted(seat.code)) press("", "Show the tally (this browser opened the room)", row, () => host(seat.code));
  press("qz-leave", "Leave the room", row, () => leave("", true));
  if (seat.key) put("div", "qz-tally", null, room);
  plays();
  look();
}

function stage() { // what a class reads from the projector
  const link = new URL(location.href);
  link.search = new URLSearchParams({ tab: "compare", view: "quiz", room: seat.code });
  const code = put("p", "", "Room ", room);
  put("b", "qz-code", seat.code, code);
  const address = put("p", "cp-small", "Join at ", room);
  Object.assign(put("a", "", link.href, address), { href: link.href, target: "_blank", rel: "noopener" });
  put("p", "qz-plays", null, room);
}

function leave(why, anew = false) { // anew: with the quiz that is chosen on this page
  const visitor = seat?.token;
  clearTimeout(looking);
  if (seat) store("sessionStorage", `gendiff-hosts-${seat.code}`, null);
  seat = null;
  delete root.dataset.seat;
  play.open = true;
  room.hidden = true;
  root.querySelector(".qz-class").hidden = false;
  keep(null);
  if (anew && visitor) begin(JSON.parse(props.value));
  if (why) fail(why, true);
}

function plays() { // which quiz the room plays, and what else could be played
  room.querySelector(".qz-plays").textContent = seat.key
    ? `Round ${seat.round}: ${seat.title}`
    : `You are in room ${seat.code}, round ${seat.round}: ${seat.title}.`;
  chosen();
}

function chosen() { // the quiz that is played here may be another one than the host's room plays
  const next = room.querySelector(".qz-start");
  if (!seat?.key || !next) return;
  next.hidden = !game?.title || (game.data === seat.data && game.seed === seat.seed);
  next.textContent = `Start round ${seat.round + 1}: ${game?.title}`;
  play.querySelector("summary").textContent = `Play ${game?.title ?? "it"} here (not counted in the room)`;
}

async function start() {
  const { code, key } = seat, { data, seed } = game;
  const reply = await ask("next_round", { code, key, data, seed });
  if (reply && seat?.key === key) moved(reply);
}

function moved({ round, data, seed, title }) {
  seat = { ...seat, round, data, seed, title, pictures: null };
  room.querySelector(".qz-truth")?.setAttribute("aria-pressed", "false"); // not yet of this quiz
  plays();
  if (seat.key) look();
}

const truth = () => room.querySelector(".qz-truth").getAttribute("aria-pressed") === "true"; // asked for by the host

// Every now and then: a host sees the tally, a visitor whether the round is still the same.
async function look() {
  clearTimeout(looking);
  const mine = seat;
  if (!mine || !root.isConnected) return;
  if (!document.hidden && root.offsetParent) {
    const { code, token, key } = mine;
    const reply = await (key ? call("tally_room", { code, key, truth: truth() }) : call("join_room", { code, token }));
    if (seat !== mine) return;
    if (reply.error && !reply.lost) return leave(reply.error); // the room has closed
    news(reply.lost ? "The server does not answer; trying again." : "");
    if (!reply.lost) await heard(reply);
    if (!seat || seat.code !== mine.code) return;
  }
  clearTimeout(looking);
  looking = setTimeout(look, seat.key ? LOOK : LISTEN);
}

async function heard(reply) {
  if (reply.round !== seat.round) {
    moved(reply);
    if (!seat.key) {
      begin(reply, reply.answered);
      seat.news = `The host has started round ${reply.round}: another quiz.`;
      news("");
    }
  }
  if (!seat.key) return;
  if (!seat.pictures) {
    const mine = seat, { pictures } = await call("begin", { data: reply.data, seed: reply.seed });
    if (seat !== mine) return;
    seat.pictures = pictures;
  }
  show(room.querySelector(".qz-tally"), reply);
}

const news = (text) => {
  const line = room.querySelector(".qz-news");
  text ||= seat.news ?? "";
  if (line.textContent !== text) line.textContent = text;
};

function show(tally, reply) {
  const truths = truth() && reply.truths; // which the server sends with the score, or not at all
  tally.replaceChildren();
  put("p", "qz-count", `${count(reply.visitors, "visitor")}, ${count(reply.answers, "answer")}, ${reply.finished} finished`, tally);
  const list = put("ol", "qz-votes", null, tally);
  reply.said.forEach((counts, place) => {
    const row = put("li", "", null, list), all = counts.reduce((a, b) => a + b, 0) || 1;
    const image = put("img", "", null, row);
    Object.assign(image, { src: seat.pictures?.[place] ?? "", alt: `Picture ${place + 1}` });
    const votes = put("div", "", null, row);
    put("b", "", truths ? `${place + 1}: ${NAMES[truths[place]]}` : String(place + 1), votes);
    counts.forEach((said, i) => {
      const bar = put("span", `qz-vote qz-${KINDS[i]}`, null, votes), right = truths?.[place] === KINDS[i];
      bar.style.setProperty("--qz-share", said / all);
      bar.toggleAttribute("data-right", right);
      put("span", "", `${NAMES[KINDS[i]]}${right ? " ✓" : ""}`, bar);
      put("b", "", String(said), bar);
    });
  });
  if (truths && reply.answers) {
    put("h3", "", `${reply.right} of ${reply.answers} right`, tally);
    interval(reply, tally);
    matrix(reply.confusion, tally, "Truth, and what the class said");
  }
  reply.past.forEach(({ title, right, answers }, i) =>
    put("p", "cp-small", `Round ${i + 1} (${title}): ${right} of ${answers} right.`, tally));
  put("p", "cp-small", `The room closes in ${count(reply.minutes, "minute")}.`, tally);
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
  if (!play.open) return;
  const kind = KINDS[Number(event.key) - 1];
  if (kind && game.k >= 0 && !game.answers[game.k]) answer(kind);
  else if (event.key === "Enter" && !document.activeElement.matches("button, a, summary")) body.querySelector(".qz-next")?.click();
  else return;
  event.preventDefault();
}
document.addEventListener("keydown", onKey);

// Another quiz was chosen on this page. A visitor plays the room's, and quiz.css hides the choice.
const hear = () => {
  const asked = JSON.parse(props.value || "null");
  if (asked && !seat?.token && (game?.data !== asked.data || game?.seed !== asked.seed)) begin(asked);
};
watch("value", hear);

async function arrive() {
  const named = new URLSearchParams(window.gendiffArrival ?? location.search), code = named.get("room");
  const own = code && hosted(code) && store("sessionStorage", `gendiff-hosts-${code}`);
  const there = code && named.get("tab") === "compare" && (await (own ? host(code) : join(code)));
  if (code && !there) keep(null);
  if (!seat?.token) hear();
}
arrive();
