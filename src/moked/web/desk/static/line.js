// One media stream, as the carrier opens it: the messages of Twilio's Media Streams over a WebSocket.

import { fromBase64, toBase64 } from "./telephone.js";

const FRAME_MS = 20;

export class Line {
  // `place`: what the desk gave: url, sid, account, token. `on`: audio(bytes), mark(name), clear(), closed(code, reason).
  constructor(place, on) {
    this.on = on;
    this.sid = `MZ${crypto.randomUUID().replaceAll("-", "")}`;
    this.sequence = 0;
    this.chunk = 0;
    this.hungUp = false;
    this.socket = new WebSocket(place.url);
    this.socket.onopen = () => this.start(place);
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => on.closed(code, reason, this.hungUp);
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN && this.sequence > 0;
  }

  start({ sid, account, token }) {
    this.socket.send(JSON.stringify({ event: "connected", protocol: "Call", version: "1.0.0" }));
    this.send("start", {
      streamSid: this.sid,
      callSid: sid,
      accountSid: account,
      tracks: ["inbound"],
      mediaFormat: { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 },
      customParameters: { token },
    });
  }

  send(event, body) {
    this.socket.send(JSON.stringify({ event, sequenceNumber: String(++this.sequence), streamSid: this.sid, [event]: body }));
  }

  frame(audio) {
    if (!this.open) return;
    this.chunk += 1;
    this.send("media", {
      track: "inbound",
      chunk: String(this.chunk),
      timestamp: String((this.chunk - 1) * FRAME_MS),
      payload: toBase64(audio),
    });
  }

  mark(name) {
    if (this.open) this.send("mark", { name });
  }

  key(digit) {
    if (this.open) this.send("dtmf", { track: "inbound_track", digit });
  }

  hangUp() {
    this.hungUp = true;
    if (this.open) this.send("stop", {});
    this.socket.close(1000);
  }

  take(message) {
    if (message.event === "media") this.on.audio(fromBase64(message.media.payload));
    else if (message.event === "mark") this.on.mark(message.mark.name);
    else if (message.event === "clear") this.on.clear();
  }
}
