// Written conversations and the account they go through, as they change: an event says that something did, and the parts
// of the page that show it are fetched anew. What a person is writing stays as it is.

const root = document.querySelector("#inbox");
const QUIET_MS = 150; // several events at once are one look

const said = () => document.querySelector("[data-live=said]");
const atEnd = (box) => box && box.scrollHeight - box.scrollTop - box.clientHeight < 80;
const toEnd = () => said()?.scrollTo(0, said().scrollHeight);

// It is too late for free text, until they write again.
const closed = (page) => page.querySelector("[data-conversation]")?.hasAttribute("data-closed");

async function look() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return location.reload();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (closed(document) && !closed(fresh) && !document.activeElement?.closest("form")) return location.reload();
  const follow = atEnd(said());
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement?.closest("form"))) {
      part.replaceChildren(...other.childNodes);
    }
  }
  if (follow) toEnd();
  await see(fresh.querySelector("[data-conversation]")?.dataset.seen);
}

// Who looks at a conversation has seen it.
async function see(address) {
  if (!address || document.hidden) return;
  const token = document.querySelector("meta[name=csrf]").content;
  await fetch(address, { method: "POST", headers: { "X-CSRF-Token": token }, redirect: "manual" });
}

let due = null;
function soon() {
  clearTimeout(due);
  due = setTimeout(look, QUIET_MS);
}

toEnd();
void see(document.querySelector("[data-conversation]")?.dataset.seen);
document.addEventListener("visibilitychange", () => document.hidden || soon());
const events = new EventSource(root.dataset.events);
let opened = false;
for (const name of ["inbox.changed", "channel.changed", "resync"]) events.addEventListener(name, soon);
events.addEventListener("open", () => {
  if (opened) soon(); // something may have been missed
  opened = true;
});
