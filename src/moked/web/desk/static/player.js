// A call's recording: the waveform (caller above, agent below), and the transcript that follows it. Click a line, or its
// time, to hear it. Without this file the browser's own player is there.
import WaveSurfer from "./wavesurfer.esm.js";

const root = document.querySelector("#player");
const audio = root.querySelector("audio");
const lines = [...document.querySelectorAll("[data-at]")]
  .map((node) => ({ node, at: Number(node.dataset.at) }))
  .sort((one, other) => one.at - other.at);
let current = null;

// The last line that has begun at `ms`, or -1.
function lineAt(ms) {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle].at <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function follow() {
  const line = lines[lineAt(audio.currentTime * 1000)]?.node ?? null;
  if (line === current) return;
  current?.classList.remove("now");
  current?.removeAttribute("aria-current");
  line?.classList.add("now");
  line?.setAttribute("aria-current", "true");
  current = line;
}

function hear(line) {
  audio.currentTime = Number(line.dataset.at) / 1000;
  audio.play();
}

audio.addEventListener("timeupdate", follow);
audio.addEventListener("seeking", follow);
for (const { node } of lines) {
  node.classList.add("seek");
  node.addEventListener("click", () => {
    if (!getSelection().toString()) hear(node);
  });
}

// What JavaScript draws by itself is coloured here: the canvas knows no style sheet.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

async function draw() {
  const answer = await fetch(root.dataset.peaks);
  if (!answer.ok) return;
  const { peaks, duration_ms } = await answer.json();
  const sides = [colour("--color-secondary"), colour("--color-primary")];
  const wave = WaveSurfer.create({
    container: root.querySelector(".wave"),
    media: audio,
    peaks,
    duration: duration_ms / 1000,
    cspNonce: root.dataset.nonce,
    height: 52,
    cursorColor: colour("--color-error"),
    splitChannels: sides.map((side) => ({
      waveColor: `color-mix(in oklab, ${side} 45%, transparent)`,
      progressColor: side,
    })),
  });
  root.dataset.drawn = "1";
  return wave;
}

draw();
