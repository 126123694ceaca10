// One linked WhatsApp account, on unmodified Baileys. It carries out and tells; when to connect again, and whether, is
// Moked's decision.

import {
  Browsers,
  downloadMediaMessage,
  fetchLatestWaWebVersion,
  makeWASocket,
  proto,
} from "baileys";
import { loadAuth } from "./auth.mjs";
import { described, handingOver } from "./incoming.mjs";

const ACK_MS = 15_000;
const UPLOAD_MS = 8_000; // a media server that is silent for so long is not waited for
const MOST_SENT = 500; // texts kept so that a recipient who could not read one can be sent it again
const MEDIA_HOSTS = /(^|\.)whatsapp\.net$/;

const quiet = { level: "silent", child: () => quiet };
for (const name of ["trace", "debug", "info", "warn", "error", "fatal"]) quiet[name] = () => {};

export class Session {
  #link;
  #sock = null;
  #keys = null;
  #sent = new Map(); // id -> content
  #acks = new Map(); // id -> told when the server has answered
  #mediaHosts = new Set();

  constructor(link) {
    this.#link = link;
  }

  // Begin; how it goes on is told as events. `version`: of WhatsApp Web, as [2, 3000, n]; without one, Baileys' own.
  async connect({ version, url, pair_phone: phone, keep_alive_ms: keepAliveMs, media_hosts: hosts }) {
    await this.disconnect();
    await this.#keys?.flushed(); // a pairing's last word may be on its way
    this.#mediaHosts = new Set(hosts ?? []);
    const { creds, keys, save } = await loadAuth(this.#link);
    this.#keys = keys;
    const stanzas = new WeakMap();
    const handed = new Set();
    const deliver = (told) => {
      handed.add(told.id);
      if (handed.size > MOST_SENT) handed.delete(handed.values().next().value);
      return this.#link.tell("message", told);
    };
    const sock = makeWASocket({
      auth: { creds, keys },
      logger: quiet,
      browser: Browsers.macOS("Chrome"),
      markOnlineOnConnect: false,
      syncFullHistory: false,
      shouldSyncHistoryMessage: () => false,
      generateHighQualityLinkPreview: false,
      getMessage: async ({ id }) => this.#sent.get(id),
      makeSignalRepository: handingOver(stanzas, keys, () => creds.me ?? {}, deliver),
      ...(version ? { version } : {}),
      ...(url ? { waWebSocketUrl: url } : {}),
      ...(keepAliveMs ? { keepAliveIntervalMs: keepAliveMs } : {}),
    });
    this.#sock = sock;
    let asked = false;
    sock.ws.on("CB:message", (node) => {
      for (const part of Array.isArray(node.content) ? node.content : [])
        if (part.content instanceof Uint8Array) stanzas.set(part.content, node);
    });
    sock.ws.on("CB:ack,class:message", ({ attrs }) => this.#answered(attrs.id, attrs.error ?? ""));
    sock.ev.process(async (events) => {
      if (sock !== this.#sock) return;
      if (events["creds.update"]) await save();
      const update = events["connection.update"];
      if (update?.qr && phone && !asked) {
        asked = true;
        void this.#link.tell("state", { state: "pairing", code: await sock.requestPairingCode(phone) });
      } else if (update?.qr && !phone) void this.#link.tell("state", { state: "pairing", qr: update.qr });
      if (update?.connection === "open") void this.#link.tell("state", { state: "open", account: creds.me.id });
      if (update?.connection === "close") {
        this.#sock = null;
        const code = update.lastDisconnect?.error?.output?.statusCode ?? 500;
        for (const id of this.#acks.keys()) this.#answered(id, "closed");
        void this.#link.tell("state", { state: "closed", code, paired: Boolean(creds.account) });
      }
      for (const { key, update: changed } of events["messages.update"] ?? [])
        if (key.fromMe && changed.status) this.#report(key.id, changed.status, changed.messageStubParameters?.[0]);
      // What came without a session of its own (an advertisement's first message) was not handed over above.
      for (const message of events["messages.upsert"]?.messages ?? []) {
        // A report that overtakes its message's own event is merged into it.
        if (message.key.fromMe && message.status) this.#report(message.key.id, message.status);
        const told = message.message && described(message, message.message);
        if (told && !handed.has(told.id)) await deliver(told);
      }
      for (const { lid, pn } of [events["lid-mapping.update"] ?? []].flat()) void this.#link.tell("lid", { lid, pn });
      for (const call of events.call ?? [])
        if (call.status === "offer") void this.#link.tell("call", { id: call.id, jid: call.from });
    });
    return {};
  }

  async disconnect() {
    const sock = this.#sock;
    this.#sock = null;
    sock?.ev.removeAllListeners("connection.update");
    await sock?.end(undefined);
    return {};
  }

  async logout() {
    await this.#sock?.logout().catch(() => {});
    return {};
  }

  // Resolves when WhatsApp's server has answered. The same id again is the same message to whoever gets it.
  send_text({ id, jid, text }) {
    return this.#send(id, jid, { text });
  }

  // `shape`: how loud it is along the way, base64, drawn on the phone.
  send_voice({ id, jid, seconds, shape }, bytes) {
    const waveform = Buffer.from(shape, "base64");
    return this.#send(id, jid, { audio: bytes, ptt: true, mimetype: "audio/ogg; codecs=opus", seconds, waveform });
  }

  async typing({ jid, on }) {
    await this.#open().sendPresenceUpdate(on ? "composing" : "paused", jid);
  }

  async read({ jid, ids }) {
    await this.#open().readMessages(ids.map((id) => ({ remoteJid: jid, id, fromMe: false })));
  }

  async download({ raw }) {
    const message = proto.Message.decode(Buffer.from(raw, "base64"));
    const { url, directPath } = message.audioMessage;
    // Whoever wrote to us named the address: nothing else of this network may be fetched for them.
    const { hostname, host, protocol } = new URL(url);
    const theirs = protocol === "https:" && MEDIA_HOSTS.test(hostname);
    if (!theirs && !(this.#mediaHosts.has(host) && !directPath))
      throw Object.assign(new Error("not an address of WhatsApp's media"), { code: "bad_media" });
    const context = { logger: quiet, reuploadRequest: this.#open().updateMediaMessage };
    return await downloadMediaMessage({ key: {}, message }, "buffer", {}, context);
  }

  async latest_version() {
    const { version, isLatest } = await fetchLatestWaWebVersion();
    return { version: isLatest ? version : null };
  }

  #open() {
    if (!this.#sock) throw Object.assign(new Error("not connected"), { code: "closed" });
    return this.#sock;
  }

  async #send(id, jid, content) {
    const sock = this.#open();
    const answered = new Promise((resolve) => {
      const late = setTimeout(() => this.#answered(id, "timeout"), ACK_MS);
      this.#acks.set(id, (error) => {
        clearTimeout(late);
        resolve(error);
      });
    });
    try {
      const sent = await sock.sendMessage(jid, content, { messageId: id, mediaUploadTimeoutMs: UPLOAD_MS });
      this.#sent.set(id, sent.message);
      if (this.#sent.size > MOST_SENT) this.#sent.delete(this.#sent.keys().next().value);
    } catch (error) {
      this.#answered(id, sock === this.#sock ? "failed" : "closed");
      if (sock === this.#sock) throw error;
    }
    return { error: await answered };
  }

  #answered(id, error) {
    this.#acks.get(id)?.(error);
    this.#acks.delete(id);
  }

  #report(id, status, error) {
    const { ERROR, DELIVERY_ACK, READ, PLAYED } = proto.WebMessageInfo.Status;
    const state = { [ERROR]: "failed", [DELIVERY_ACK]: "delivered", [READ]: "read", [PLAYED]: "read" }[status];
    if (state) void this.#link.tell("report", { id, state, error: error ?? "" });
  }
}
