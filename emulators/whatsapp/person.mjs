// Somebody with WhatsApp on their phone: real Signal sessions with the business's linked device, in both directions.

import { createRequire } from "node:module";
import { Curve, encodeBigEndian, encodeWAMessage, generateSignalPubKey, getBinaryNodeChild, getBinaryNodeChildren, proto, signedKeyPair, unpadRandomMax16 } from "baileys";

const libsignal = createRequire(import.meta.resolve("baileys"))("libsignal");
const BUSINESS = new libsignal.ProtocolAddress("business", 0);
const KEY_TYPE = Buffer.from([5]);
const pair = ({ public: pub, private: priv }) => ({ pubKey: generateSignalPubKey(pub), privKey: Buffer.from(priv) });
const number = (buffer) => Buffer.from(buffer).readUIntBE(0, buffer.length);

export class Person {
  #identity = Curve.generateKeyPair();
  #signed = signedKeyPair(this.#identity, 1);
  #preKeys = new Map();
  #next = 1;
  #sessions = new Map();
  #registration = 7000;

  constructor(pn, lid, name) {
    this.pn = pn;
    this.lid = lid;
    this.name = name;
    this.got = new Map(); // what reached them, by the message's id
  }

  is(jid) {
    const [user, server] = jid.split("@");
    return user.split(":")[0] === (server === "lid" ? this.lid : this.pn);
  }

  // A message for the business, as their phone would encrypt it now.
  async encrypt(message, bundle) {
    if (!this.#sessions.has(BUSINESS.toString())) await this.#begin(bundle());
    const { type, body } = await new libsignal.SessionCipher(this.#store, BUSINESS).encrypt(Buffer.from(encodeWAMessage(message)));
    return { type: type === 3 ? "pkmsg" : "msg", content: Buffer.from(body, "binary") };
  }

  async decrypt(type, content) {
    const cipher = new libsignal.SessionCipher(this.#store, BUSINESS);
    const plain = type === "pkmsg" ? await cipher.decryptPreKeyWhisperMessage(content) : await cipher.decryptWhisperMessage(content);
    return proto.Message.decode(unpadRandomMax16(plain));
  }

  // They could not be read: a new session, as a phone makes one when it is asked to send again.
  forget() {
    this.#sessions.clear();
  }

  // Keys for whoever writes to them first.
  bundle(jid) {
    const id = this.#next++;
    const key = Curve.generateKeyPair();
    this.#preKeys.set(id, key);
    const part = (tag, content) => ({ tag, attrs: {}, content });
    return {
      tag: "user",
      attrs: { jid },
      content: [
        part("registration", encodeBigEndian(this.#registration)),
        part("type", KEY_TYPE),
        part("identity", Buffer.from(this.#identity.public)),
        part("skey", [part("id", encodeBigEndian(1, 3)), part("value", Buffer.from(this.#signed.keyPair.public)), part("signature", Buffer.from(this.#signed.signature))]),
        part("key", [part("id", encodeBigEndian(id, 3)), part("value", Buffer.from(key.public))]),
      ],
    };
  }

  async #begin({ registrationId, identityKey, signedPreKey, preKey }) {
    await new libsignal.SessionBuilder(this.#store, BUSINESS).initOutgoing({ registrationId, identityKey, signedPreKey, preKey });
  }

  #store = {
    loadSession: async (id) => this.#sessions.get(id) ?? null,
    storeSession: async (id, record) => void this.#sessions.set(id, record),
    isTrustedIdentity: () => true,
    loadPreKey: (id) => this.#preKeys.has(Number(id)) ? pair(this.#preKeys.get(Number(id))) : undefined,
    removePreKey: (id) => this.#preKeys.delete(Number(id)),
    loadSignedPreKey: () => pair(this.#signed.keyPair),
    getOurRegistrationId: () => this.#registration,
    getOurIdentity: () => pair(this.#identity),
  };
}

// The business's keys, as its device left them with the server: each one-time key is given out once.
export class Bundles {
  #device = null;
  #keys = [];

  take(iq) {
    const child = (name) => getBinaryNodeChild(iq, name);
    const skey = child("skey");
    const part = (node, name) => Buffer.from(getBinaryNodeChild(node, name).content);
    this.#device = {
      registrationId: number(child("registration").content),
      identityKey: generateSignalPubKey(Buffer.from(child("identity").content)),
      signedPreKey: { keyId: number(part(skey, "id")), publicKey: generateSignalPubKey(part(skey, "value")), signature: part(skey, "signature") },
    };
    this.#keys.push(...getBinaryNodeChildren(child("list"), "key").map((key) => ({ keyId: number(part(key, "id")), publicKey: generateSignalPubKey(part(key, "value")) })));
  }

  get count() {
    return this.#keys.length;
  }

  give = () => {
    if (!this.#device) throw new Error("the device has left no keys yet");
    return { ...this.#device, preKey: this.#keys.shift() };
  };
}
