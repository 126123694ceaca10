// One call as it is spoken, beside the phone: the partial that replaces itself, what was said and heard, and the time of
// each answer as a bar of its parts.

const MOMENTS = ["transcript", "endpoint", "llm_first", "tts_first", "sent", "heard"];
const SHORTEST_SCALE_MS = 1000;
const SVG = "http://www.w3.org/2000/svg";
const READY_MS = 3000;

const draw = (name, attributes) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

// The parts of an answer: each ends at its moment, the first begins at the caller's last sound.
export function bars(waterfall) {
  if (waterfall.speech_end_ms == null) return [];
  const found = [];
  let at = 0;
  for (const name of MOMENTS) {
    const moment = waterfall[`${name}_ms`];
    if (moment == null) continue;
    const end = Math.max(at, moment - waterfall.speech_end_ms);
    found.push({ name, start: at, width: end - at });
    at = end;
  }
  return found;
}

export class Watch {
  constructor(page) {
    this.lines = page.querySelector("[data-lines]");
    this.partial = page.querySelector("[data-partial]");
    this.blank = page.querySelector("#phone-turn");
    this.words = JSON.parse(page.dataset.words);
    this.turns = new Map();
    this.falls = new Map();
    this.spoken = new Set(); // turns with words of the caller
    this.sid = "";
    this.events = new EventSource(page.dataset.events);
    const on = {
      "turn.partial": ({ text }) => this.guess(text),
      "turn.committed": ({ turn, text, dtmf }) => this.say(turn, "caller", text || dtmf),
      "reply.text": ({ turn, text }) => this.say(turn, "agent", text),
      "reply.heard": ({ turn, text, cut }) => this.say(turn, "agent", text, cut),
      "turn.latency": ({ turn, waterfall, response_ms }) => this.fall(turn, waterfall, response_ms),
    };
    for (const [name, act] of Object.entries(on)) {
      this.events.addEventListener(name, ({ data }) => {
        const told = JSON.parse(data);
        if (told.call === this.sid) act(told);
      });
    }
  }

  // What is told from now on is not missed. A server that does not stream is no reason not to call.
  ready() {
    return new Promise((done) => {
      this.events.addEventListener("open", done, { once: true });
      setTimeout(done, READY_MS);
    });
  }

  follow(sid) {
    this.sid = sid;
    this.lines.replaceChildren();
    this.guess("");
  }

  close() {
    this.events.close();
  }

  guess(text) {
    this.partial.textContent = text ?? "";
    if (text) this.partial.dataset.seen = Number(this.partial.dataset.seen ?? 0) + 1;
  }

  turn(number) {
    let found = this.turns.get(number);
    if (!found) {
      found = this.blank.content.firstElementChild.cloneNode(true);
      this.turns.set(number, found);
      this.lines.append(found);
    }
    return found;
  }

  say(number, who, text, cut = false) {
    if (who === "caller") this.guess("");
    if (!text) return;
    if (who === "caller") this.spoken.add(number);
    const part = this.turn(number).querySelector(`[data-${who}]`);
    part.querySelector("[data-text]").textContent = text;
    part.querySelector("[data-cut]")?.classList.toggle("hidden", !cut);
    part.classList.remove("hidden");
    part.scrollIntoView({ block: "nearest" });
  }

  fall(number, waterfall, response) {
    const parts = bars(waterfall);
    if (!parts.length || !this.spoken.has(number)) return; // to a silence there is no answer
    this.falls.set(number, parts);
    const shown = this.turn(number).querySelector("[data-took]");
    if (response != null) shown.textContent = this.words.took.replace("{seconds}", (response / 1000).toFixed(2));
    const scale = Math.max(SHORTEST_SCALE_MS, ...[...this.falls.values()].map((row) => row.at(-1).start + row.at(-1).width));
    for (const [turn, row] of this.falls) this.bar(this.turn(turn).querySelector("svg"), row, scale);
  }

  bar(svg, parts, scale) {
    const x = (ms) => ((ms * 1000) / scale).toFixed(1);
    svg.replaceChildren(draw("rect", { class: "track", x: 0, y: 0, width: 1000, height: 16 }));
    for (const { name, start, width } of parts) {
      if (width) svg.append(draw("rect", { class: `moment-${name}`, x: x(start), y: 0, width: x(width), height: 16 }));
    }
    const spoken = parts.map(({ name, start, width }) => `${this.words[name]} ${start + width}`);
    svg.setAttribute("aria-label", spoken.join(", "));
    svg.classList.remove("hidden");
  }
}
