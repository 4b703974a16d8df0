// Browser side of the pad (pad.py): shows one picture at its true resolution, offers real ones, and
// is drawn on. props.value is {data, w, h, c, pixels, index, name, empty}; index is null for a
// picture that is not on the shelf; empty: nobody has put anything on the board yet. A person's choice is put there, and Python is told by the event "edit".
"use strict";

const node = (tag, name, parent, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text != null) made.textContent = text;
  parent?.append(made);
  return made;
};
const BRUSHES = { 1: ["#ffffff", "#808080", "#000000"], 3: ["#1c1917", "#ffffff", "#dc2626", "#f59e0b", "#16a34a", "#2563eb"] };
const NAMES = { "#ffffff": "white", "#808080": "grey", "#000000": "black", "#1c1917": "black", "#dc2626": "red", "#f59e0b": "orange", "#16a34a": "green", "#2563eb": "blue" };

element.innerHTML = `
  <section class="gp" role="group" aria-label="The picture">
    <canvas class="gp-board" role="img"></canvas>
    <div class="gp-shelf" role="group" aria-label="Real pictures"></div>
    <div class="gp-tools">
      <div class="gp-colours" role="group" aria-label="Brush colour"></div>
      <input class="gp-size" type="range" min="1" max="9" step="1" value="3" aria-label="Brush size" title="Brush size">
      <button type="button" class="gp-clear">Clear</button>
    </div>
    <p class="gp-name" aria-live="polite"></p>
  </section>`;
const [board, shelf, name, colours, size, clear] =
  ["board", "shelf", "name", "colours", "size", "clear"].map((part) => element.querySelector(`.gp-${part}`));
const context = board.getContext("2d", { willReadFrequently: true });
let now = null, shelved = null, brush = "", from = null;

// ---- Pictures -------------------------------------------------------------------------------

function bytesOf(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function paint(target, { w, h, c, pixels }) {
  Object.assign(target, { width: w, height: h });
  const bytes = bytesOf(pixels), on = target.getContext("2d"), image = on.createImageData(w, h);
  for (let i = 0; i < w * h; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = bytes[c * i + (c === 3 ? k : 0)];
    image.data[4 * i + 3] = 255;
  }
  on.putImageData(image, 0, 0);
}

function read() { // the board's pixels, as they came
  const { data } = context.getImageData(0, 0, now.w, now.h);
  let text = "";
  for (let i = 0; i < data.length; i += 4) for (let k = 0; k < now.c; k++) text += String.fromCharCode(data[i + k]);
  return btoa(text);
}

function show(value) {
  if (!value?.pixels) return;
  if (now?.c !== value.c) offerBrushes(value.c);
  now = value;
  paint(board, value);
  board.setAttribute("aria-label", `${value.name}. Draw on it with a pointer.`);
  name.textContent = value.name;
  for (const item of shelf.children) item.setAttribute("aria-pressed", String(Number(item.dataset.index) === value.index));
  if (shelved !== value.data) fillShelf(value.data);
}

function choose(value) { // by a person
  props.value = value;
  show(value);
  trigger("edit");
}

async function fillShelf(data) {
  shelved = data;
  const offered = await server.offer(data);
  if (shelved !== data) return;
  shelf.hidden = !offered?.length;
  shelf.replaceChildren(...(offered ?? []).map((value) => {
    const item = node("button", "gp-item");
    Object.assign(item, { type: "button", title: value.name, onclick: () => choose(value) });
    item.setAttribute("aria-label", value.name);
    item.setAttribute("aria-pressed", String(value.index === now.index));
    item.dataset.index = value.index;
    paint(node("canvas", "", item), value);
    return item;
  }));
}

// ---- Drawing --------------------------------------------------------------------------------

function offerBrushes(channels) {
  const list = BRUSHES[channels];
  colours.replaceChildren(...list.map((colour) => {
    const item = node("button", "gp-colour");
    Object.assign(item, { type: "button", title: NAMES[colour], onclick: () => take(colour) });
    item.setAttribute("aria-label", NAMES[colour]);
    item.dataset.colour = colour;
    item.style.setProperty("--gp-ink", colour);
    return item;
  }));
  take(list[0]);
}

function take(colour) {
  brush = colour;
  for (const item of colours.children) item.setAttribute("aria-pressed", String(item.dataset.colour === colour));
}

function at(event) {
  const box = board.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * board.width, ((event.clientY - box.top) / box.height) * board.height];
}

function stroke(event) {
  const to = at(event);
  // A brush of 3 is 3 of 32 pixels: as wide on the screen for every resolution.
  Object.assign(context, { lineWidth: (size.value * board.width) / 32, lineCap: "round", strokeStyle: brush });
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
  from = to;
}

const own = () => choose({ ...now, pixels: read(), index: null, name: "Your drawing", empty: false });

board.addEventListener("pointerdown", (event) => {
  if (!now || event.button) return;
  event.preventDefault();
  board.setPointerCapture(event.pointerId);
  from = at(event);
  stroke(event);
});
board.addEventListener("pointermove", (event) => {
  if (from) for (const part of event.getCoalescedEvents?.() ?? [event]) stroke(part);
});
for (const type of ["pointerup", "pointercancel"]) {
  board.addEventListener(type, () => {
    if (!from) return;
    from = null;
    own();
  });
}
clear.addEventListener("click", () => {
  if (!now) return;
  context.fillStyle = now.c === 1 ? "#000000" : "#ffffff";
  context.fillRect(0, 0, board.width, board.height);
  own();
});

// A file that the server would refuse is not sent: gradio would say so in its own words.
const weigh = (event) => {
  if (!element.isConnected) return document.removeEventListener("change", weigh, true);
  const { target } = event, file = target.type === "file" && target.files[0];
  const here = element.closest("[role=tabpanel]");
  if (!file || file.size <= UPLOAD_MAX * 2 ** 20 || (here && !here.contains(target))) return;
  event.stopImmediatePropagation();
  target.value = "";
  trigger("refuse", { size: file.size });
};
document.addEventListener("change", weigh, true);

watch("value", () => show(props.value));
show(props.value);
