// The browser's phone: a call to the agent over the same wire as a carrier's, with the live words and times beside it.

import { askForMicrophone, Microphone, NoMicrophone, openSound, Speaker } from "./audio.js";
import { Line } from "./line.js";
import { Watch } from "./watch.js";

const page = document.querySelector("#phone");
const words = JSON.parse(page.dataset.words);
const csrf = document.querySelector('meta[name="csrf"]').content;
const find = (name) => page.querySelector(`[data-${name}]`);
const WAIT_MS = 1000;
const NO_PLACE = 409;
const TRIES = 6;

let call = null;

function tell(text, kind = "") {
  find("told").textContent = text;
  find("told").dataset.kind = kind;
}

function show(state) {
  page.dataset.state = state;
  for (const each of page.querySelectorAll("[data-when]")) {
    each.classList.toggle("hidden", !each.dataset.when.split(" ").includes(state));
  }
}

async function ask(path, fields = {}) {
  const answer = await fetch(path, { method: "POST", headers: { "X-CSRF-Token": csrf }, body: new URLSearchParams(fields) });
  if (answer.status === 401) location.reload();
  const json = (answer.headers.get("content-type") ?? "").includes("json");
  const body = json ? await answer.json() : {};
  if (!answer.ok) throw Object.assign(new Error(body.message ?? words.failed), { status: answer.status });
  return body;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// A server that has only just started may be busy for a moment.
async function place(caller) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask(page.dataset.calls, caller ? { caller } : {});
    } catch (error) {
      if (error.status !== NO_PLACE || tries === TRIES) throw error;
      tell(error.message);
      await pause(WAIT_MS);
    }
  }
}

class Call {
  async begin(caller) {
    tell(words.asking);
    const stream = await askForMicrophone();
    try {
      this.sound = await openSound({ microphone: page.dataset.microphone, speaker: page.dataset.speaker });
      this.speaker = new Speaker(this.sound, { onMark: (name) => this.line?.mark(name), onTold: (told) => this.heard(told) });
      this.watch = new Watch(page);
      await this.watch.ready();
      tell(words.connecting);
      this.place = await place(caller);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
    this.watch.follow(this.place.sid);
    this.microphone = new Microphone(this.sound, stream, (audio, level) => this.said(audio, level));
    this.connect();
  }

  connect() {
    this.line = new Line(this.place, {
      audio: (audio) => this.speaker.play(audio),
      mark: (name) => this.speaker.mark(name),
      clear: () => this.speaker.clear(),
      closed: (code, reason, hungUp) => this.closed(hungUp),
    });
    this.line.socket.addEventListener("open", () => this.connected());
  }

  connected() {
    if (call !== this) return;
    show("talking");
    tell(words.talking, "live");
    this.since ??= performance.now();
    this.clock ??= setInterval(() => this.tick(), 500);
  }

  tick() {
    const seconds = Math.floor((performance.now() - this.since) / 1000);
    find("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  said(audio, level) {
    this.line.frame(audio);
    find("mine").value = Math.min(1, level * 4);
  }

  heard({ level, played, queued, dropped }) {
    find("theirs").value = Math.min(1, level * 4);
    this.loudest = Math.max(this.loudest ?? 0, level);
    Object.assign(page.dataset, { played, queued, dropped, loudest: this.loudest.toFixed(4) });
  }

  async closed(hungUp) {
    this.speaker.clear();
    if (hungUp) {
      await ask(`${page.dataset.calls}/${this.place.sid}/over`).catch(() => {});
      this.end(words.ended);
      return;
    }
    try {
      for (;;) {
        const next = await ask(`${page.dataset.calls}/${this.place.sid}/next`);
        if (call !== this) return;
        if (next.token) {
          this.place = next;
          this.connect();
          return;
        }
        if (next.over) {
          await ask(`${page.dataset.calls}/${this.place.sid}/over`).catch(() => {});
          this.end(next.message);
          return;
        }
        tell(words.waiting);
        await pause(WAIT_MS);
      }
    } catch (error) {
      this.end(error.message || words.failed, "error");
    }
  }

  end(message, kind = "") {
    if (call !== this) return;
    call = null;
    this.stop();
    find("call-link").href = `${page.dataset.callPages}/${encodeURIComponent(this.place.sid)}`;
    show("over");
    tell(message, kind);
    find("again").focus();
  }

  stop() {
    clearInterval(this.clock);
    this.microphone?.close();
    this.speaker?.close();
    this.sound?.close();
    setTimeout(() => this.watch?.close(), 5000); // the last turn's words come after the socket has closed
    find("mine").value = find("theirs").value = 0;
  }

  hangUp() {
    tell(words.ending);
    this.line.hangUp();
  }

  leave() {
    this.line?.hangUp();
    if (this.place) navigator.sendBeacon(`${page.dataset.calls}/${this.place.sid}/over`, new URLSearchParams({ csrf }));
  }
}

async function begin(event) {
  event.preventDefault();
  if (call) return;
  show("calling");
  call = new Call();
  try {
    await call.begin(find("number").value.trim());
  } catch (error) {
    call.stop();
    call = null;
    show("idle");
    tell(error instanceof NoMicrophone ? words[error.message] : error.message || words.failed, "error");
  }
}

find("form").addEventListener("submit", begin);
find("again").addEventListener("click", begin);
find("hang-up").addEventListener("click", () => call?.hangUp());
find("mute").addEventListener("click", ({ currentTarget }) => {
  if (!call?.microphone) return;
  call.microphone.muted = !call.microphone.muted;
  currentTarget.setAttribute("aria-pressed", call.microphone.muted);
  currentTarget.textContent = call.microphone.muted ? words.unmute : words.mute;
});
find("keys").addEventListener("click", ({ target }) => {
  if (target.dataset.key) call?.line?.key(target.dataset.key);
});
window.addEventListener("pagehide", () => call?.leave());
if (!window.isSecureContext) tell(words.insecure, "error");
