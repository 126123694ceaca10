// The board by stage: a card that is dragged to another column is moved there, if the rules of leads allow it.
// Without this file, and with the keyboard, the select on each card does the same.

const board = document.querySelector("#lead-board");
const told = document.querySelector("#board-told");
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

async function move(card, section) {
  const from = column(card);
  if (!section || section === from) return;
  say("");
  place(card, section);
  try {
    const answer = await fetch(card.querySelector("form").action, {
      method: "POST",
      headers: { "X-CSRF-Token": csrf },
      body: new URLSearchParams({ stage: section.dataset.stage }),
    });
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
