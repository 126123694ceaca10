// The connection to Moked: we dial in, with a token. Requests go both ways; events have numbers and are kept until they
// are acknowledged. Without Moked for LOST_MS there is nothing to live for: what we did not acknowledge to WhatsApp comes
// again to whoever is started next.

import { WebSocket } from "ws";
import { MAX_BINARY, decode, encode } from "./wire.mjs";

const AGAIN_MS = 200;
const LOST_MS = 20_000;
const SILENT_MS = 30_000; // Moked sends a ping every ten seconds
const MOST_EVENTS = 5000;

export class Link {
  #url;
  #token;
  #methods;
  #socket = null;
  #asked = new Map(); // id -> {frame, resolve, reject}
  #events = []; // {seq, frame, resolve}
  #next = 1;
  #seq = 0;
  #lost = null;
  #silent = null;

  constructor(url, token, methods, { run = String(process.pid) } = {}) {
    this.#url = url;
    this.#token = token;
    this.#methods = methods;
    this.run = run;
  }

  open() {
    this.#lost ??= setTimeout(() => process.exit(3), LOST_MS);
    const socket = new WebSocket(this.#url, {
      headers: { authorization: `Bearer ${this.#token}`, "x-bridge-run": this.run },
      maxPayload: MAX_BINARY,
      perMessageDeflate: false,
    });
    const hear = () => {
      clearTimeout(this.#silent);
      this.#silent = setTimeout(() => socket.terminate(), SILENT_MS);
    };
    socket.on("open", () => {
      this.#socket = socket;
      clearTimeout(this.#lost);
      this.#lost = null;
      hear();
      for (const { frame } of this.#asked.values()) socket.send(frame);
      for (const { frame } of this.#events) socket.send(frame);
    });
    socket.on("ping", hear);
    socket.on("message", (data, isBinary) => {
      hear();
      try {
        this.#take(...decode(data, isBinary));
      } catch {
        socket.close(1002);
      }
    });
    socket.on("unexpected-response", (_, answer) => {
      if (answer.statusCode === 401 || answer.statusCode === 409) process.exit(4); // not ours to serve
      socket.terminate();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(this.#silent);
      if (this.#socket === socket) this.#socket = null;
      setTimeout(() => this.open(), AGAIN_MS);
    });
    this.#lost ??= setTimeout(() => process.exit(3), LOST_MS);
  }

  // Ask Moked; resolves with its result, rejects with its refusal.
  ask(method, params) {
    const id = `b${this.#next++}`;
    const frame = encode({ id, method, params });
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { frame, resolve, reject });
      this.#socket?.send(frame);
    });
  }

  // Tell Moked; resolves when what was told is stored there.
  tell(event, data) {
    if (this.#events.length >= MOST_EVENTS) process.exit(5);
    const seq = ++this.#seq;
    const frame = encode({ seq, event, data });
    return new Promise((resolve) => {
      this.#events.push({ seq, frame, resolve });
      this.#socket?.send(frame);
    });
  }

  #take(message, bytes) {
    if (message.ack !== undefined) {
      while (this.#events.length && this.#events[0].seq <= message.ack) this.#events.shift().resolve();
    } else if (message.method !== undefined) {
      void this.#serve(message, bytes);
    } else {
      const asked = this.#asked.get(message.id);
      this.#asked.delete(message.id);
      if (message.error) asked?.reject(Object.assign(new Error(message.error.message), { code: message.error.code }));
      else asked?.resolve(message.result);
    }
  }

  async #serve({ id, method, params }, bytes) {
    let answer;
    let with_ = null;
    try {
      const serve = Object.hasOwn(this.#methods, method) ? this.#methods[method] : null;
      if (!serve) throw Object.assign(new Error("no such method"), { code: "unknown_method" });
      const result = await serve(params ?? {}, bytes);
      if (Buffer.isBuffer(result)) [answer, with_] = [{ id, result: {} }, result];
      else answer = { id, result: result ?? {} };
    } catch (error) {
      answer = { id, error: { code: String(error.code ?? "failed"), message: String(error.message).slice(0, 300) } };
    }
    this.#socket?.send(encode(answer, with_));
  }
}
