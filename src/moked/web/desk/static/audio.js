// The microphone and the loudspeaker of a page, as telephone audio. The worklets' addresses come from the page.

const WANTED = { audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true } };

// Why there is no microphone, as a word the page has a sentence for: 'insecure', 'denied', 'missing', 'busy'.
export class NoMicrophone extends Error {}

const WHY = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

export async function askForMicrophone() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) throw new NoMicrophone("insecure");
  try {
    return await navigator.mediaDevices.getUserMedia(WANTED);
  } catch (error) {
    throw new NoMicrophone(WHY[error.name] ?? "missing");
  }
}

export async function openSound({ microphone, speaker }) {
  const context = new AudioContext({ latencyHint: "interactive" });
  await Promise.all([microphone && context.audioWorklet.addModule(microphone), context.audioWorklet.addModule(speaker)]);
  await context.resume();
  return context;
}

// Calls `onFrame(bytes, level)` fifty times a second, until it is closed.
export class Microphone {
  constructor(context, stream, onFrame) {
    this.stream = stream;
    this.muted = false;
    this.source = context.createMediaStreamSource(stream);
    this.node = new AudioWorkletNode(context, "microphone", { numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => {
      if (this.muted) data.audio.fill(0xff);
      onFrame(data.audio, this.muted ? 0 : data.level);
    };
    this.source.connect(this.node);
  }

  close() {
    this.node.port.postMessage({ over: true });
    this.source.disconnect();
    for (const track of this.stream.getTracks()) track.stop();
  }
}

// `onMark(name)` when it is played, `onTold({level, played, queued, dropped})` every 50 ms.
export class Speaker {
  constructor(context, { onMark = () => {}, onTold = () => {} } = {}) {
    this.node = new AudioWorkletNode(context, "speaker", { numberOfInputs: 0, numberOfOutputs: 1, outputChannelCount: [2] });
    this.node.port.onmessage = ({ data }) => (data.mark === undefined ? onTold(data) : onMark(data.mark));
    this.node.connect(context.destination);
  }

  play(audio) {
    this.node.port.postMessage({ audio }, [audio.buffer]);
  }

  mark(name) {
    this.node.port.postMessage({ mark: name });
  }

  clear() {
    this.node.port.postMessage({ clear: true });
  }

  close() {
    this.node.port.postMessage({ over: true });
    this.node.disconnect();
  }
}
