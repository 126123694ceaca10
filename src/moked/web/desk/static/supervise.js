// Supervision of the calls on the board: every button of a call's card, and the one socket that is open at a time.

import { askForMicrophone, Microphone, NoMicrophone, openSound, Speaker } from "./audio.js";
import { fromBase64, toBase64 } from "./telephone.js";

const panel = document.querySelector("#live-panel");
const words = JSON.parse(panel.dataset.words);
const csrf = document.querySelector('meta[name="csrf"]').content;

const TRIES = 12;
let desk = null; // the call that is heard

const card = (node) => node.closest("[data-call]");
const part = (where, name) => where.querySelector(`[data-${name}]`);

function tell(where, text, kind = "") {
  const told = part(where, "told");
  told.textContent = text;
  told.dataset.kind = kind;
}

async function ask(where, act, fields = {}) {
  const path = `${panel.dataset.callPages}/${encodeURIComponent(where.dataset.call)}/${act}`;
  const answer = await fetch(path, { method: "POST", headers: { "X-CSRF-Token": csrf }, body: new URLSearchParams(fields) });
  if (answer.status === 401) location.reload();
  const json = (answer.headers.get("content-type") ?? "").includes("json");
  const body = json ? await answer.json() : {};
  if (!answer.ok) throw new Error(body.message ?? words.failed);
  return body;
}

class Desk {
  constructor(where) {
    this.where = where;
    this.floor = false;
  }

  async open(talks) {
    const stream = talks ? await askForMicrophone() : null;
    try {
      this.sound = await openSound({ microphone: talks && panel.dataset.microphone, speaker: panel.dataset.speaker });
      this.caller = new Speaker(this.sound, { onTold: (told) => this.heard("caller", told) });
      this.agent = new Speaker(this.sound, { onTold: (told) => this.heard("agent", told) });
      const { token, url } = await ask(this.where, talks ? "take-over" : "listen");
      if (stream) this.microphone = new Microphone(this.sound, stream, (audio) => this.say(audio));
      this.connect(url, token, talks);
    } catch (error) {
      for (const track of stream?.getTracks() ?? []) track.stop();
      this.stop();
      throw error;
    }
  }

  // Behind one address there may be several processes: whoever does not have the call says so, and we ask again.
  connect(url, token, talks, tries = TRIES) {
    this.socket = new WebSocket(url);
    this.socket.onopen = () => {
      this.send({ event: "start", call: this.where.dataset.call, token });
      if (talks) this.send({ event: "take_over" });
    };
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = ({ reason }) => {
      if (reason === "elsewhere" && tries > 1 && desk === this) this.connect(url, token, talks, tries - 1);
      else this.closed();
    };
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  say(audio) {
    if (this.floor) this.send({ event: "media", payload: toBase64(audio) });
  }

  heard(side, { level, played }) {
    this.where.dataset[`${side}Played`] = played;
    const meter = part(this.where, `${side}-level`);
    if (meter) meter.value = Math.min(1, level * 4);
  }

  take(message) {
    const on = {
      started: () => tell(this.where, words.listening, "live"),
      audio: () => {
        this.caller.play(fromBase64(message.caller));
        this.agent.play(fromBase64(message.agent));
      },
      floor: () => this.turned(message),
      refused: () => tell(this.where, words.taken, "error"),
      over: () => tell(this.where, words.over),
    };
    on[message.event]?.();
  }

  turned({ who, mine }) {
    this.floor = mine;
    show(this.where, mine ? "talking" : "listening");
    if (mine) tell(this.where, words.talking, "live");
    else if (who) tell(this.where, words.floor.replace("{who}", who), "live");
    else tell(this.where, words.listening, "live");
  }

  handBack(note) {
    this.send({ event: "hand_back", note });
  }

  closed() {
    if (desk !== this) return;
    desk = null;
    this.stop();
    show(this.where, "idle");
    if (part(this.where, "told").dataset.kind === "live") tell(this.where, words.over);
  }

  stop() {
    this.microphone?.close();
    this.caller?.close();
    this.agent?.close();
    this.sound?.close();
  }

  close() {
    tell(this.where, "");
    this.socket?.close(1000);
    this.closed();
  }
}

function show(where, state) {
  where.dataset.supervision = state;
  for (const each of where.querySelectorAll("[data-while]")) each.classList.toggle("hidden", !each.dataset.while.split(" ").includes(state));
}

async function open(where, talks) {
  desk?.close();
  const mine = (desk = new Desk(where));
  tell(where, talks ? words.asking : words.connecting);
  try {
    await mine.open(talks);
  } catch (error) {
    if (desk === mine) desk = null;
    show(where, "idle");
    tell(where, error instanceof NoMicrophone ? words[error.message] : error.message || words.failed, "error");
  }
}

async function order(where, act, fields) {
  try {
    tell(where, (await ask(where, act, fields)).message);
    return true;
  } catch (error) {
    tell(where, error.message || words.failed, "error");
    return false;
  }
}

panel.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-act]");
  if (!button) return;
  const where = card(button);
  const acts = {
    listen: () => open(where, false),
    "take-over": () => open(where, true),
    stop: () => desk?.where === where && desk.close(),
    end: () => order(where, "end"),
  };
  acts[button.dataset.act]?.();
});

panel.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-order]");
  if (!form) return;
  event.preventDefault();
  const where = card(form);
  const fields = Object.fromEntries(new FormData(form));
  if (form.dataset.order === "hand_back") {
    if (desk?.where === where) desk.handBack(fields.note.trim());
    form.reset();
  } else if (await order(where, form.dataset.order, fields)) form.reset();
});

window.addEventListener("pagehide", () => desk?.close());
