// The board by stage: a card that is dragged to another column is moved there, if the rules of leads allow it.
// A finger drags a card by its grip. Without this file, and with the keyboard, the select on each card does the same.
// A lead that is lost says why: a dialog asks.

const board = document.querySelector("#lead-board");
const told = document.querySelector("#board-told");
const why = document.querySelector("#lost-reason");
const csrf = document.querySelector('meta[name="csrf"]').content;
let dragged = null;

const column = (node) => node.closest?.("[data-stage]");

function say(message) {
  told.textContent = message;
  told.classList.toggle("hidden", !message);
}

function count(section, change) {
  const shown = section.querySelector("[data-count]");
  shown.dataset.count = Number(shown.dataset.count) + change;
  shown.textContent = Number(shown.dataset.count).toLocaleString("en");
}

function place(card, section) {
  const from = column(card);
  section.querySelector("[data-cards]").prepend(card);
  section.querySelector("[data-empty]")?.remove();
  card.querySelector("select").value = section.dataset.stage;
  count(from, -1);
  count(section, 1);
}

function ask() {
  return new Promise((answer) => {
    why.returnValue = "";
    why.addEventListener("close", () => answer(why.returnValue), { once: true });
    why.showModal();
  });
}

const send = (card, values) =>
  fetch(card.querySelector("form").action, {
    method: "POST",
    headers: { "X-CSRF-Token": csrf },
    body: new URLSearchParams(values),
  });

async function move(card, section) {
  const from = column(card);
  if (!section || section === from) return;
  say("");
  place(card, section);
  const stage = section.dataset.stage;
  try {
    const reason = stage === "lost" ? await ask() : "";
    if (stage === "lost" && !reason) return place(card, from);
    const answer = await send(card, { stage, reason });
    if (answer.ok) return;
    place(card, from);
    if (answer.status === 401) location.reload();
    const kind = answer.headers.get("content-type") ?? "";
    say(kind.includes("json") ? (await answer.json()).message : told.dataset.failed);
  } catch {
    place(card, from);
    say(told.dataset.failed);
  }
}

board.addEventListener("dragstart", (event) => {
  dragged = event.target.closest?.("[data-lead]");
  if (!dragged) return;
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.dataset.lead);
  dragged.classList.add("dragged");
});

board.addEventListener("dragover", (event) => {
  const over = dragged && column(event.target);
  if (!over) return;
  event.preventDefault();
  for (const each of board.querySelectorAll("[data-stage]")) each.classList.toggle("over", each === over);
});

board.addEventListener("drop", (event) => {
  event.preventDefault();
  if (dragged) move(dragged, column(event.target));
});

board.addEventListener("dragend", () => {
  dragged?.classList.remove("dragged");
  for (const each of board.querySelectorAll(".over")) each.classList.remove("over");
  dragged = null;
});

// ---- a finger or a pen: by the grip, so that everything else on the card still scrolls

const EDGE = 48; // pixels from the board's edge in which it scrolls by itself
let held = null;

function over(x, y) {
  const found = column(document.elementFromPoint(x, y) ?? board);
  for (const each of board.querySelectorAll("[data-stage]")) each.classList.toggle("over", each === found);
  return found;
}

function follow(event) {
  held.ghost.style.translate = `${event.clientX - held.x}px ${event.clientY - held.y}px`;
  const box = board.getBoundingClientRect();
  if (event.clientX < box.left + EDGE) board.scrollBy(-12, 0);
  if (event.clientX > box.right - EDGE) board.scrollBy(12, 0);
  over(event.clientX, event.clientY);
}

function release(event, drop) {
  const { card, ghost } = held;
  const section = drop ? over(event.clientX, event.clientY) : null;
  ghost.remove();
  card.classList.remove("dragged");
  for (const each of board.querySelectorAll(".over")) each.classList.remove("over");
  held = null;
  if (section) move(card, section);
}

board.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest?.("[data-grip]");
  if (!grip || held || event.pointerType === "mouse") return;
  event.preventDefault();
  grip.setPointerCapture(event.pointerId);
  const card = grip.closest("[data-lead]");
  const box = card.getBoundingClientRect();
  const ghost = card.cloneNode(true);
  ghost.removeAttribute("data-lead");
  ghost.classList.add("ghost");
  ghost.style.left = `${box.left}px`;
  ghost.style.top = `${box.top}px`;
  document.body.append(ghost);
  card.classList.add("dragged");
  held = { card, ghost, x: event.clientX, y: event.clientY };
});

board.addEventListener("pointermove", (event) => held && follow(event));
board.addEventListener("pointerup", (event) => held && release(event, true));
board.addEventListener("pointercancel", (event) => held && release(event, false));
