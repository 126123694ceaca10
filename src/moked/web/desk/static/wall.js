// The wallboard: the figures of the day, asked for again whenever a call says that they have changed.

const wall = document.querySelector("#wall");
const AFTER_MS = 150; // so that a burst of events is one question
const ANYWAY_MS = 15_000; // midnight, and calls that end without a word
const CHANGES = ["call.started", "call.ended", "turn.latency", "resync"];
let due = null;
let asking = false;
let again = false;

const time = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "medium" });
const count = new Intl.NumberFormat("en");

function show(figures) {
  const shown = { ...figures, answer: figures.answer_ms === null ? "–" : (figures.answer_ms / 1000).toFixed(2) };
  for (const each of wall.querySelectorAll("[data-figure]")) {
    const value = shown[each.dataset.figure];
    const text = typeof value === "number" ? count.format(value) : value;
    const place = each.firstElementChild;
    if (place.textContent !== text) place.textContent = text;
  }
  wall.querySelector("[data-update]").textContent = wall.dataset.updated.replace("{time}", time.format(new Date(figures.at)));
  wall.dataset.lastUpdate = figures.at;
}

async function ask() {
  due = null;
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    const answer = await fetch(wall.dataset.figures, { headers: { Accept: "application/json" } });
    if (answer.redirected || answer.status === 401) location.reload();
    show(await answer.json());
  } catch {
    wall.querySelector("[data-update]").textContent = wall.dataset.stale;
  }
  asking = false;
  if (again) soon();
  again = false;
}

const soon = () => (due ??= setTimeout(ask, AFTER_MS));

const events = new EventSource(wall.dataset.events);
for (const name of CHANGES) events.addEventListener(name, soon);
events.addEventListener("open", soon);
setInterval(soon, ANYWAY_MS);
wall.querySelector("[data-full]").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : wall.requestFullscreen()));
