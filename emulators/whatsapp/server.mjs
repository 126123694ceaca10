// A WhatsApp server for tests: the real Noise and Signal wire to unmodified Baileys, and faults on request.
//
//   ws://.../ws/chat    a linked device        http://.../media/<name>    voice notes
//   POST /scan {qr, pn, lid}     the phone scans the code           POST /say {pn, text|voice, as}   somebody writes
//   POST /type {code, pn, lid}   the code is typed on the phone     https /mms/audio/<hash>          a device leaves a voice note
//   POST /fault {login|ack|now}  what goes wrong next               GET /state                       what was seen
//
// login: a code such as "405", or "stream:503"; ack: "463", "silent", "lost"; media: a status such as "500"; now: "440", "503", "401", "drop", "stall".
// Started by tests.channels.whatsapp_server, which may give the files of a certificate and its key for https; prints
// {"port": n, "mediaPort": n} when it listens. Never reachable from outside.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { WebSocketServer } from "ws";
import { Account } from "./account.mjs";
import { Noise } from "./noise.mjs";

const [certificate, key] = process.argv.slice(2);
const account = new Account();
const part = (tag, attrs = {}, content = undefined) => ({ tag, attrs, content });
const streamError = (code) =>
  code === "440" ? part("stream:error", {}, [part("conflict", { type: "replaced" })])
  : code === "401" ? part("stream:error", { code: "401" }, [part("conflict", { type: "device_removed" })])
  : part("stream:error", { code });

class Connection {
  #noise = new Noise();
  #state = "hello";
  #order = Promise.resolve();
  #stalled = false;

  constructor(socket) {
    this.socket = socket;
    socket.on("message", (data) => (this.#order = this.#order.then(() => this.#take(data)).catch(() => socket.terminate())));
    socket.on("close", () => {
      if (account.live === this) account.live = null;
      if (this === scanning) scanning = null;
    });
  }

  async send(node) {
    if (!this.#stalled && this.socket.readyState === 1) this.socket.send(this.#noise.encode(node));
  }

  async end(code) {
    await this.send(streamError(code));
    this.socket.close();
  }

  stall() {
    this.#stalled = true;
  }

  async #take(data) {
    for (const frame of this.#noise.frames(data)) {
      if (this.#state === "hello") {
        this.socket.send(this.#noise.hello(frame));
        this.#state = "finish";
      } else if (this.#state === "finish") {
        this.#state = "open";
        await this.#begin(this.#noise.finish(frame));
      } else if (!this.#stalled) await this.#hear(await this.#noise.decode(frame));
    }
  }

  async #begin(payload) {
    account.logins += 1;
    account.version = payload.userAgent?.appVersion;
    const fault = account.faults.login.shift();
    if (fault?.startsWith("stream:")) return await this.end(fault.slice(7));
    if (fault) {
      await this.send(part("failure", { reason: fault, location: "test" }));
      return this.socket.close();
    }
    if (payload.devicePairingData) {
      scanning = this;
      const refs = Array.from({ length: payload.passive ? 1 : account.refs ?? 6 }, (_, n) => part("ref", {}, Buffer.from(`2@ref${n}`)));
      return await this.send(part("iq", { from: "s.whatsapp.net", type: "set", id: "qr-1" }, [part("pair-device", {}, refs)]));
    }
    if (!account.device || String(payload.username) !== account.device.pn) {
      await this.send(part("failure", { reason: "401", location: "test" }));
      return this.socket.close();
    }
    const before = account.live;
    account.live = this;
    await before?.end("440");
    const waiting = account.waiting.size;
    await this.send(part("success", { lid: `${account.device.lid}@lid`, t: String(Math.floor(Date.now() / 1000)) }));
    await account.handOver();
    await this.send(part("ib", {}, [part("offline", { count: String(waiting) })]));
  }

  async #hear(node) {
    if (getPair(node)) return await this.end("515"); // the device has signed: it must come again as what it is now
    for (const answer of await account.answers(node)) await this.send(answer);
  }
}

const getPair = (node) => node.tag === "iq" && Array.isArray(node.content) && node.content[0]?.tag === "pair-device-sign";
let scanning = null;

const posts = {
  async "/scan"({ qr, pn, lid }) {
    await scanning.send(account.scanned(qr, pn, lid));
  },
  async "/type"({ code, pn, lid }) {
    const device = scanning;
    const linked = await account.linkCode.typed(code, (stanza) => device.send(stanza));
    if (linked) await device.send(account.paired(linked, pn, lid, linked.key));
    return { linked: Boolean(linked) };
  },
  async "/say"(asked) {
    return { id: await account.say(asked) };
  },
  async "/fault"({ login = [], ack = [], media = [], now, refs }) {
    account.faults.login.push(...login);
    account.faults.ack.push(...ack);
    account.faults.media.push(...media);
    if (refs) account.refs = refs;
    if (now === "drop") account.live?.socket.terminate();
    else if (now === "stall") account.live?.stall();
    else if (now) {
      if (now === "401") account.unlink();
      await (account.live ?? scanning)?.end(now);
    }
  },
};

const server = createServer(async (request, answer) => {
  const done = (status, body) => answer.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body ?? {}));
  try {
    const media = request.url.startsWith("/media/") && account.media.get(request.url.slice(7));
    if (media) return answer.writeHead(200, { "content-length": media.length }).end(media);
    if (request.method === "GET" && request.url === "/state") {
      const { live, device, logins, sent, waiting, seen, version } = account;
      const got = Object.fromEntries(account.people.map((one) => [one.pn, [...one.got].map(([id, what]) => ({ id, ...what }))]));
      const asked = account.linkCode.asked && account.linkCode.jid;
      return done(200, { live: Boolean(live), device, logins, sent, waiting: waiting.size, seen, got, version, asked, uploads: account.uploads.length });
    }
    let body = "";
    for await (const chunk of request) body += chunk;
    const act = posts[request.url];
    done(act ? 200 : 404, act && (await act(JSON.parse(body))));
  } catch (error) {
    done(500, { error: String(error?.stack ?? error) });
  }
});
const sockets = new WebSocketServer({ server, path: "/ws/chat" });
sockets.on("connection", (socket) => new Connection(socket));
// Devices leave media over https, whatever the address of the rest.
const media = certificate && createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key) }, async (request, answer) => {
  const parts = [];
  for await (const chunk of request) parts.push(chunk);
  const { pathname, searchParams } = new URL(request.url, "https://media");
  const right = request.method === "POST" && pathname.startsWith("/mms/audio/") && searchParams.get("auth") === "let-me-in";
  const fault = account.faults.media.shift();
  const status = fault ? Number(fault) : right ? 200 : 403;
  answer.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(status === 200 ? account.left(Buffer.concat(parts)) : {}));
});
const listening = (one) => new Promise((resolve) => one.listen(0, "127.0.0.1", () => resolve(one.address().port)));
const port = await listening(server);
const mediaPort = media ? await listening(media) : null;
account.mediaBase = `http://127.0.0.1:${port}`;
if (media) account.mediaHost = `127.0.0.1:${mediaPort}`;
process.stdout.write(`${JSON.stringify({ port, mediaPort })}\n`);
