// What the carrier does with our audio: plays it in order, says when it comes to a mark, and drops the rest on `clear`,
// upon which the marks come back at once. An item is {audio: mu-law} or {mark: name}.

import { decode, loudness, RATE, Resampler } from "./telephone.js";

const STEP = 16; // samples of 8 kHz at a time
const TOLD_EVERY = 400; // samples: 50 ms

class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.forget();
    this.told = 0;
    this.played = 0; // samples of audio
    this.dropped = 0; // that `clear` threw away
    this.energy = 0;
    this.over = false;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  forget() {
    this.items = [];
    this.at = 0;
    this.resampler = new Resampler(RATE, Math.round(sampleRate));
    this.ready = [];
  }

  take(data) {
    if (data.over) this.over = true;
    else if (data.clear) {
      const marks = this.items.filter((item) => item.mark !== undefined);
      this.dropped += this.queued();
      this.forget();
      for (const { mark } of marks) this.port.postMessage({ mark });
      this.tell();
    } else this.items.push(data.audio ? { audio: decode(data.audio) } : data);
  }

  queued() {
    return this.items.reduce((sum, { audio }) => sum + (audio?.length ?? 0), -this.at);
  }

  next() {
    const out = new Float32Array(STEP);
    for (let filled = 0; filled < STEP && this.items.length; ) {
      const { audio, mark } = this.items[0];
      if (mark !== undefined) {
        this.items.shift();
        this.port.postMessage({ mark });
        continue;
      }
      const part = audio.subarray(this.at, this.at + STEP - filled);
      out.set(part, filled);
      filled += part.length;
      this.played += part.length;
      this.at += part.length;
      if (this.at === audio.length) {
        this.items.shift();
        this.at = 0;
      }
    }
    return out;
  }

  tell() {
    const level = Math.sqrt(this.energy / TOLD_EVERY);
    this.port.postMessage({ level, played: this.played, queued: this.queued(), dropped: this.dropped });
    this.told = this.energy = 0;
  }

  process(_, [channels]) {
    const wanted = channels[0].length;
    while (this.ready.length < wanted) {
      const samples = this.next();
      this.energy += loudness(samples) ** 2 * STEP;
      this.told += STEP;
      if (this.told >= TOLD_EVERY) this.tell();
      this.ready.push(...this.resampler.process(samples));
    }
    const block = this.ready.splice(0, wanted);
    for (const channel of channels) channel.set(block);
    return !this.over;
  }
}

registerProcessor("speaker", Speaker);
