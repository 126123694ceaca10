// The live board: calls in progress, word by word. A partial replaces the one before it, finals stay. The browser comes
// back by itself with the last id it saw; only what could not be replayed makes the page load anew.

const panel = document.querySelector("#live-panel");
const calls = document.querySelector("#live-calls");
const empty = document.querySelector("#no-live");
const blank = document.querySelector("#live-call");
const LINES = 6;
const GONE_MS = 4000;
let seen = false;
let opened = false;

const find = (sid) => calls.querySelector(`[data-call="${CSS.escape(sid)}"]`);
const number = (e164) => (e164 ?? "").replace(/^\+972(\d{2})(\d{3})(\d{4})$/, "0$1-$2-$3").replace(/^\+972(\d)(\d{3})(\d{4})$/, "0$1-$2-$3");

function card(sid, caller) {
  let found = find(sid);
  if (!found) {
    found = blank.content.firstElementChild.cloneNode(true);
    found.dataset.call = sid;
    found.querySelector("a").href = `${calls.dataset.calls}/${encodeURIComponent(sid)}`;
    found.querySelector("[data-caller]").textContent = number(caller) || sid;
    calls.append(found);
  }
  empty.classList.add("hidden");
  return found;
}

function line(sid, turn, who, text) {
  if (!text) return;
  const lines = card(sid).querySelector("[data-lines]");
  const key = `${who}-${turn}`;
  let found = lines.querySelector(`[data-key="${key}"]`);
  if (!found) {
    found = document.createElement("li");
    found.dataset.key = key;
    found.append(document.createElement("b"), " ", document.createElement("bdi"));
    found.firstChild.textContent = `${panel.dataset[who]}:`;
    lines.append(found);
    while (lines.children.length > LINES) lines.firstElementChild.remove();
  }
  found.lastChild.textContent = text;
}

const partial = (sid, text) => (card(sid).querySelector("[data-partial]").textContent = text ?? "");

function reload() {
  const last = Number(sessionStorage.getItem("moked-reload") ?? 0);
  if (Date.now() - last < 10_000) return;
  sessionStorage.setItem("moked-reload", Date.now());
  location.reload();
}

const on = {
  "call.started": (data) => card(data.call, data.caller),
  "turn.partial": (data) => partial(data.call, data.text),
  "turn.committed": (data) => {
    partial(data.call, "");
    line(data.call, data.turn, "callerWord", data.text || data.dtmf);
  },
  "reply.text": (data) => line(data.call, data.turn, "agentWord", data.text),
  "reply.heard": (data) => line(data.call, data.turn, "agentWord", data.text),
  "turn.latency": (data) => {
    if (data.response_ms == null) return;
    const shown = card(data.call).querySelector("[data-latency]");
    shown.textContent = shown.dataset.words.replace("{seconds}", (data.response_ms / 1000).toFixed(2));
  },
  "call.supervised": ({ call, act, who }) => {
    const shown = card(call).querySelector("[data-floor]");
    if (act === "taken_over") shown.textContent = shown.dataset.words.replace("{who}", who);
    if (act === "handed_back") shown.textContent = "";
  },
  "call.ended": (data) => {
    const over = find(data.call);
    if (!over) return;
    over.classList.add("opacity-50");
    setTimeout(() => {
      over.remove();
      empty.classList.toggle("hidden", calls.children.length > 0);
    }, GONE_MS);
  },
  resync: reload,
};

const events = new EventSource(calls.dataset.events);
for (const [name, act] of Object.entries(on)) {
  events.addEventListener(name, (event) => {
    seen ||= Boolean(event.lastEventId);
    act(JSON.parse(event.data));
  });
}
events.addEventListener("open", () => {
  if (opened && !seen) reload(); // it has no id to come back with: something may have been missed
  opened = true;
});
