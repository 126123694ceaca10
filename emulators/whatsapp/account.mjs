// One business's WhatsApp account at the server: its linked device, what waits for it, the people who write to it.

import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { Curve, getBinaryNodeChild, getBinaryNodeChildren, proto } from "baileys";
import { LinkCode } from "./linkcode.mjs";
import { Bundles, Person } from "./person.mjs";

const now = () => String(Math.floor(Date.now() / 1000));
const children = (node) => (Array.isArray(node?.content) ? node.content : []);

export class Account {
  people = [];
  waiting = new Map(); // id -> {stanza, person, message}: given again until the device says that it has it
  sent = [];
  media = new Map();
  device = null; // {pn, lid} once linked
  live = null;
  logins = 0;
  seen = { presence: [], read: [], refused: 0 };
  faults = { login: [], ack: [], media: [] };
  linkCode = new LinkCode(); // a device that asked to be linked by a code
  mediaHost = ""; // where a device leaves its media, over https; "" where there is none
  uploads = [];
  #bundles = new Bundles();
  #order = Promise.resolve(); // what a person says is encrypted and handed over in order

  person(pn, lid = `9${pn}`, name = "רותי") {
    let found = this.people.find((one) => one.pn === pn);
    if (!found) this.people.push((found = new Person(pn, lid, name)));
    return found;
  }

  // --- the phone's owner links a device ---------------------------------------------------------------------------

  // What the phone sends after the code of `qr` was scanned.
  scanned(qr, pn, lid) {
    const [, , identity, secret] = qr.split("#").pop().split(",").map((part) => Buffer.from(part, "base64"));
    return this.paired({ identity, secret }, pn, lid);
  }

  // `identity`: the device's public key, `secret`: what it and the phone alone know. `key`: of the phone.
  paired({ identity, secret }, pn, lid, key = Curve.generateKeyPair()) {
    const details = proto.ADVDeviceIdentity.encode({ rawId: 1, timestamp: Number(now()), keyIndex: 1, accountType: 0, deviceType: 0 }).finish();
    const signed = Buffer.concat([Buffer.from([6, 0]), details, identity]);
    const account = proto.ADVSignedDeviceIdentity.encode({
      details,
      accountSignatureKey: key.public,
      accountSignature: Curve.sign(key.private, signed),
    }).finish();
    const hmac = createHmac("sha256", secret).update(account).digest();
    this.device = { pn, lid };
    const part = (tag, attrs, content) => ({ tag, attrs, content });
    return part("iq", { from: "s.whatsapp.net", type: "set", id: "pair-1" }, [
      part("pair-success", {}, [
        part("device-identity", {}, Buffer.from(proto.ADVSignedDeviceIdentityHMAC.encode({ details: account, hmac }).finish())),
        part("platform", { name: "android" }),
        part("device", { jid: `${pn}:5@s.whatsapp.net`, lid: `${lid}:5@lid` }),
      ]),
    ]);
  }

  unlink() {
    this.device = null;
    this.#bundles = new Bundles();
    for (const person of this.people) person.forget();
  }

  // --- people write -----------------------------------------------------------------------------------------------

  say({ pn, lid, name, id, text, voice, as = "pn" }) {
    const person = this.person(pn, lid, name);
    const made = id ?? `3A${randomBytes(9).toString("hex").toUpperCase()}`;
    const message = voice ? { audioMessage: this.#kept(Buffer.from(voice, "base64")) } : { conversation: text };
    this.#order = this.#order.then(async () => {
      const entry = { id: made, person, message, as, stanza: null, at: now() };
      this.waiting.set(made, entry);
      await this.#encrypt(entry);
      await this.live?.send(entry.stanza);
    });
    return this.#order.then(() => made);
  }

  async #encrypt(entry) {
    const { id, person, message, as, at } = entry;
    const { type, content } = await person.encrypt(message, this.#bundles.give);
    const from = as === "pn" ? `${person.pn}@s.whatsapp.net` : `${person.lid}@lid`;
    const other = { pn: {}, lid: { addressing_mode: "lid", sender_pn: `${person.pn}@s.whatsapp.net` }, lid_only: { addressing_mode: "lid" } }[as];
    const attrs = { from, id, t: at, type: message.audioMessage ? "media" : "text", notify: person.name, ...other };
    entry.stanza = { tag: "message", attrs, content: [{ tag: "enc", attrs: { v: "2", type }, content }] };
  }

  async handOver() {
    for (const { stanza } of [...this.waiting.values()].filter(({ stanza }) => stanza))
      await this.live?.send({ ...stanza, attrs: { ...stanza.attrs, offline: "1" } });
  }

  // A voice note at the media host, encrypted as WhatsApp does.
  #kept(sound) {
    const mediaKey = randomBytes(32);
    const keys = Buffer.from(hkdfSync("sha256", mediaKey, Buffer.alloc(32), "WhatsApp Audio Keys", 112));
    const cipher = createCipheriv("aes-256-cbc", keys.subarray(16, 48), keys.subarray(0, 16));
    const body = Buffer.concat([cipher.update(sound), cipher.final()]);
    const mac = createHmac("sha256", keys.subarray(48, 80)).update(keys.subarray(0, 16)).update(body).digest().subarray(0, 10);
    const file = Buffer.concat([body, mac]);
    const name = randomBytes(8).toString("hex");
    this.media.set(name, file);
    return {
      url: `${this.mediaBase}/media/${name}`,
      mimetype: "audio/ogg; codecs=opus",
      ptt: true,
      fileLength: sound.length,
      mediaKey,
      fileSha256: createHash("sha256").update(sound).digest(),
      fileEncSha256: createHash("sha256").update(file).digest(),
    };
  }

  // What is at the media host, as its owner hears it.
  #heard({ url, mediaKey, fileSha256 }) {
    const file = this.media.get(url.split("/").pop());
    const keys = Buffer.from(hkdfSync("sha256", mediaKey, Buffer.alloc(32), "WhatsApp Audio Keys", 112));
    const [body, mac] = [file.subarray(0, -10), file.subarray(-10)];
    const right = createHmac("sha256", keys.subarray(48, 80)).update(keys.subarray(0, 16)).update(body).digest().subarray(0, 10);
    if (!mac.equals(right)) throw new Error("the medium is not what its sender made");
    const cipher = createDecipheriv("aes-256-cbc", keys.subarray(16, 48), keys.subarray(0, 16));
    const sound = Buffer.concat([cipher.update(body), cipher.final()]);
    if (!createHash("sha256").update(sound).digest().equals(Buffer.from(fileSha256))) throw new Error("another sound than was said");
    return sound;
  }

  // A device leaves a file here, encrypted.
  left(file) {
    const name = randomBytes(8).toString("hex");
    this.media.set(name, file);
    this.uploads.push(name);
    return { url: `https://${this.mediaHost}/media/${name}` };
  }

  // --- the device says ----------------------------------------------------------------------------------------------

  // Answers of the server to a stanza of the linked device.
  async answers(node) {
    switch (node.tag) {
      case "iq":
        return [this.#iq(node)];
      case "message":
        return await this.#message(node);
      case "receipt":
        return await this.#receipt(node);
      case "ack":
        if (node.attrs.class === "message" && !node.attrs.error) this.waiting.delete(node.attrs.id);
        if (node.attrs.error) this.seen.refused += 1;
        return [];
      case "chatstate":
        this.seen.presence.push([node.attrs.to, children(node)[0]?.tag]);
        return [];
    }
    return [];
  }

  async #receipt({ attrs, ...node }) {
    const ids = [attrs.id, ...getBinaryNodeChildren(getBinaryNodeChild(node, "list"), "item").map((item) => item.attrs.id)];
    if (attrs.type === "read") this.seen.read.push(...ids);
    if (attrs.type === "retry") {
      const entry = this.waiting.get(attrs.id);
      if (entry) {
        entry.person.forget();
        await this.#encrypt(entry);
        return [{ tag: "ack", attrs: { class: "receipt", id: attrs.id, from: attrs.to } }, entry.stanza];
      }
    } else for (const id of ids) this.waiting.delete(id);
    return [{ tag: "ack", attrs: { class: "receipt", id: attrs.id, from: attrs.to, ...(attrs.type ? { type: attrs.type } : {}) } }];
  }

  async #message(node) {
    const { id, to } = node.attrs;
    const answer = { class: "message", id, from: to, t: now() };
    const fault = this.faults.ack.shift();
    if (fault === "lost") return []; // it came, and the sender never hears so
    if (fault && fault !== "silent") return [{ tag: "ack", attrs: { ...answer, error: fault } }];
    const person = this.people.find((one) => one.is(to));
    const parts = [...children(node), ...children(getBinaryNodeChild(node, "participants"))];
    for (const part of parts) {
      const enc = part.tag === "enc" ? part : getBinaryNodeChild(part, "enc");
      if (!enc || !person || (part.attrs.jid && !person.is(part.attrs.jid))) continue;
      const message = await person.decrypt(enc.attrs.type, Buffer.from(enc.content));
      const text = message.conversation || message.extendedTextMessage?.text || "";
      const { audioMessage: audio } = message;
      const voice = audio && { sound: this.#heard(audio).toString("base64"), ptt: audio.ptt, seconds: audio.seconds, mimetype: audio.mimetype, shape: [...(audio.waveform ?? [])] };
      this.sent.push({ id, to, text });
      if (!person.got.has(id)) person.got.set(id, { text, ...(voice ? { voice } : {}) }); // as phones do: the same id is the same message
    }
    if (fault === "silent") return [];
    const receipt = { tag: "receipt", attrs: { id, from: to, t: now() } };
    return [{ tag: "ack", attrs: answer }, receipt, { ...receipt, attrs: { ...receipt.attrs, type: "read" } }];
  }

  #iq(node) {
    const [child] = children(node);
    const answer = (...content) => ({ tag: "iq", attrs: { from: node.attrs.to ?? "s.whatsapp.net", id: node.attrs.id, type: "result", t: now() }, content });
    const part = (tag, attrs = {}, content = undefined) => ({ tag, attrs, content });
    switch (`${node.attrs.xmlns} ${child?.tag}`) {
      case "encrypt count":
        return answer(part("count", { value: String(this.#bundles.count) }));
      case "encrypt registration":
        this.#bundles.take(node);
        return answer();
      case "w:m media_conn":
        return answer(part("media_conn", { auth: "let-me-in", ttl: "300" }, this.mediaHost ? [part("host", { hostname: this.mediaHost })] : []));
      case "md link_code_companion_reg":
        return answer(...this.linkCode.take(child));
      case "privacy privacy":
        return answer(part("privacy", {}, [part("category", { name: "readreceipts", value: "all" })]));
      case "encrypt digest":
        return answer(part("digest"));
      case "encrypt key":
        return answer(part("list", {}, getBinaryNodeChildren(child, "user").map(({ attrs }) => this.#keysOf(attrs.jid))));
      case "usync usync": {
        const users = getBinaryNodeChildren(getBinaryNodeChild(child, "list"), "user").map(({ attrs }) => attrs.jid).filter(Boolean);
        return answer(part("usync", { sid: child.attrs.sid, index: "0", last: "true" }, [part("list", {}, users.map((jid) => this.#devices(jid)))]));
      }
    }
    return answer();
  }

  #keysOf(jid) {
    const person = this.people.find((one) => one.is(jid)) ?? this.person(jid.split("@")[0].split(":")[0]);
    return person.bundle(jid);
  }

  #devices(jid) {
    const own = this.device && jid.startsWith(this.device.pn);
    const person = this.people.find((one) => one.is(jid)) ?? (own ? null : this.person(jid.split("@")[0].split(":")[0]));
    const part = (tag, attrs, content) => ({ tag, attrs, content });
    const devices = part("devices", {}, [part("device-list", {}, [part("device", { id: "0" })])]);
    return part("user", { jid }, [devices, ...(person && jid.endsWith("@s.whatsapp.net") ? [part("lid", { val: `${person.lid}@lid` })] : [])]);
  }
}
