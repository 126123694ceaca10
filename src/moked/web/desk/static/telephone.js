// Telephone sound: mu-law of 8 kHz (ITU-T G.711), and the way from and to what the browser's sound card runs at.
// Pure: used by the worklets, and by tests.

export const RATE = 8000;
export const FRAME = 160; // samples, and bytes: 20 ms
export const SILENCE = 0xff;

const BIAS = 0x84;
const CLIP = 32635;
const HALF_WIDTH_S = 0.0027; // of the filter: it lets 3.4 kHz through and is 60 dB down where 8 kHz would fold back
const EDGE_HZ = 3800;
const BETA = 6.5;

function encodeOne(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const size = Math.min(Math.abs(sample), CLIP) + BIAS;
  const exponent = 31 - Math.clz32(size) - 7;
  return ~(sign | (exponent << 4) | ((size >> (exponent + 3)) & 0x0f)) & 0xff;
}

const DECODED = Float32Array.from({ length: 256 }, (_, code) => {
  const bits = ~code & 0xff;
  const size = (((bits & 0x0f) << 3) + BIAS) << ((bits >> 4) & 7);
  return (bits & 0x80 ? BIAS - size : size - BIAS) / 32768;
});

// Samples in -1..1; louder is clipped.
export function encode(samples) {
  return Uint8Array.from(samples, (sample) => encodeOne(Math.trunc(Math.max(-1, Math.min(1, sample)) * 32767)));
}

export const decode = (bytes) => Float32Array.from(bytes, (code) => DECODED[code]);

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

function bessel(x) {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-9; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

function impulse(seconds, edge) {
  const at = seconds / HALF_WIDTH_S;
  if (Math.abs(at) >= 1) return 0;
  const x = 2 * edge * seconds;
  const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
  return (sinc * bessel(BETA * Math.sqrt(1 - at * at))) / bessel(BETA);
}

// From one rate to another, both in whole Hz: a windowed sinc, one set of taps a phase. What comes out is late by half
// the filter, 2.7 ms, and exactly as long as what went in.
export class Resampler {
  constructor(from, to) {
    const common = gcd(from, to);
    this.phases = to / common;
    this.step = from / common;
    const reach = Math.ceil(HALF_WIDTH_S * from);
    this.length = 2 * reach + 1;
    this.taps = Array.from({ length: this.phases }, (_, phase) => {
      const taps = Float32Array.from({ length: this.length }, (_, k) => impulse((k - reach - phase / this.phases) / from, EDGE_HZ));
      const gain = taps.reduce((sum, tap) => sum + tap, 0);
      return taps.map((tap) => tap / gain);
    });
    this.kept = new Float32Array(this.length - 1);
    this.at = 0; // of the next output, in phases after the first sample that is not used up
  }

  process(input) {
    const { phases, step, length, taps } = this;
    const all = new Float32Array(this.kept.length + input.length);
    all.set(this.kept);
    all.set(input, this.kept.length);
    const out = [];
    while (Math.floor(this.at / phases) < input.length) {
      const first = Math.floor(this.at / phases);
      const weights = taps[this.at % phases];
      let sum = 0;
      for (let k = 0; k < length; k++) sum += all[first + k] * weights[k];
      out.push(sum);
      this.at += step;
    }
    this.at -= input.length * phases;
    this.kept = all.slice(input.length);
    return Float32Array.from(out);
  }
}

export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
