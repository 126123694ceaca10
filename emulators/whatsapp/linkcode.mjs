// A device linked by a code: the phone's half of it, and the server that carries their words.
//
//   device -> companion_hello     its one-time key, under the code        the server keeps it, and gives the pairing a name
//   phone  -> primary_hello       the code was typed: its own, likewise
//   device -> companion_finish    its identity, under the secret that both keys make
//   phone  -> pair-success        signed with what both identities and the device's random number make
//
// Who types another code derives other keys: the device's last word cannot be opened, and nothing is linked.

import { createDecipheriv, randomBytes } from "node:crypto";
import { Curve, aesDecryptCTR, aesEncryptCTR, derivePairingCodeKey, getBinaryNodeChild, hkdf } from "baileys";

const BUNDLE = "link_code_pairing_key_bundle_encryption_key";
const part = (tag, content, attrs = {}) => ({ tag, attrs, content });
const bytes = (node, name) => Buffer.from(getBinaryNodeChild(node, name).content);

export class LinkCode {
  #ref = null;
  #hello = null; // the device's one-time key, under the code
  #phone = null; // {identity, ephemeral} once a code was typed
  #finish = null;
  #finished = null;
  jid = "";

  // A stanza of the device; returns what the server answers.
  take(node) {
    if (node.attrs.stage === "companion_hello") {
      this.#ref = randomBytes(16);
      this.#hello = bytes(node, "link_code_pairing_wrapped_companion_ephemeral_pub");
      this.jid = node.attrs.jid;
      return [part("link_code_companion_reg", [part("link_code_pairing_ref", this.#ref)], { stage: "companion_hello" })];
    }
    if (!bytes(node, "link_code_pairing_ref").equals(this.#ref)) throw new Error("another pairing");
    this.#finish = { bundle: bytes(node, "link_code_pairing_wrapped_key_bundle"), identity: bytes(node, "companion_identity_public") };
    this.#finished?.();
    return [];
  }

  get asked() {
    return Boolean(this.#hello);
  }

  // The phone's owner types `code`. `tell` hands a stanza to the device. Returns what it is linked with, or null.
  async typed(code, tell) {
    const theirs = await unwrapped(this.#hello, code);
    const [identity, ephemeral] = [Curve.generateKeyPair(), Curve.generateKeyPair()];
    const done = new Promise((resolve) => (this.#finished = resolve));
    const stanza = part("link_code_companion_reg", [
      part("link_code_pairing_wrapped_primary_ephemeral_pub", await wrapped(ephemeral.public, code)),
      part("primary_identity_pub", Buffer.from(identity.public)),
      part("link_code_pairing_ref", this.#ref),
    ], { stage: "primary_hello" });
    await tell({ tag: "notification", attrs: { from: "s.whatsapp.net", type: "link_code_companion_reg", id: randomBytes(8).toString("hex"), t: String(Math.floor(Date.now() / 1000)) }, content: [stanza] });
    await done;
    const shared = Curve.sharedKey(ephemeral.private, theirs);
    const opened = this.#opened(shared);
    if (!opened) return null;
    const [companion, primary, random] = [opened.subarray(0, 32), opened.subarray(32, 64), opened.subarray(64)];
    if (!companion.equals(this.#finish.identity) || !primary.equals(Buffer.from(identity.public))) return null;
    const both = Curve.sharedKey(identity.private, companion);
    const secret = Buffer.from(hkdf(Buffer.concat([shared, both, random]), 32, { info: "adv_secret" }));
    return { identity: companion, secret, key: identity };
  }

  #opened(shared) {
    const { bundle } = this.#finish;
    const key = hkdf(shared, 32, { salt: bundle.subarray(0, 32), info: BUNDLE });
    const cipher = createDecipheriv("aes-256-gcm", key, bundle.subarray(32, 44));
    cipher.setAuthTag(bundle.subarray(-16));
    try {
      return Buffer.concat([cipher.update(bundle.subarray(44, -16)), cipher.final()]);
    } catch {
      return null; // other keys: another code was typed
    }
  }
}

// A public key under a code: salt, nonce, and the key.
async function wrapped(key, code) {
  const [salt, iv] = [randomBytes(32), randomBytes(16)];
  return Buffer.concat([salt, iv, aesEncryptCTR(key, await derivePairingCodeKey(code, salt), iv)]);
}

async function unwrapped(made, code) {
  const key = await derivePairingCodeKey(code, made.subarray(0, 32));
  return aesDecryptCTR(made.subarray(48, 80), key, made.subarray(32, 48));
}
