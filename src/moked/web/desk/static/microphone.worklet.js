// The microphone as a telephone sends it: frames of 160 bytes of mu-law, each with how loud it was.

import { encode, FRAME, loudness, RATE, Resampler } from "./telephone.js";

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(Math.round(sampleRate), RATE);
    this.frame = new Float32Array(FRAME);
    this.filled = 0;
    this.over = false;
    this.port.onmessage = () => (this.over = true);
  }

  process([[channel]]) {
    if (this.over) return false;
    // Without a channel the source has stopped: the line goes on in silence.
    for (const sample of this.resampler.process(channel ?? new Float32Array(128))) {
      this.frame[this.filled++] = sample;
      if (this.filled < FRAME) continue;
      this.filled = 0;
      const audio = encode(this.frame);
      this.port.postMessage({ audio, level: loudness(this.frame) }, [audio.buffer]);
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
