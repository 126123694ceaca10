// The server's side of WhatsApp's Noise_XX_25519_AESGCM_SHA256, and its frames (3 bytes of length, then the frame).
// Baileys checks that the certificate chain leads to WhatsApp's root, not that it belongs to the server's key: the public
// chain any client is shown will do, and Baileys stays as it is.

import { Curve, NOISE_MODE, NOISE_WA_HEADER, aesDecryptGCM, aesEncryptGCM, decodeBinaryNode, encodeBinaryNode, hkdf, proto, sha256 } from "baileys";

const NOTHING = Buffer.alloc(0);
const CHAIN = Buffer.from(
  "CncKMwjjAhADGiCRKg7Kg1iu4CSulwLBaxX51Tefw6VXGgZqcr5OEbXIRiDQ04bOBijQjZ/TBhJA34Bj82jAHhLpCWBNVBlGnFDieamd8+138S57uMt9" +
    "ke9mrn5r4+VepwBPKEgHjob6bR70rlCmWDkxZv+CfVjIAxJ2CjIIAxAAGiAcUamsMDmUxsjQuS6hh4pTNHZZnMWZ++o1mX2aqQzOYiCAka6+Bij/" +
    "3rfcBhJAJw8pRkhTn+1IcOJQVN1OlZg6uikYnCumyO7acFVVX3U3QPXsGSq2TCbCbWrebSC593Su43EgprIDlfU8ZgWFBw==",
  "base64",
);

const iv = (counter) => {
  const made = Buffer.alloc(12);
  made.writeUInt32BE(counter, 8);
  return made;
};

export class Noise {
  #hash = Buffer.from(NOISE_MODE);
  #salt = this.#hash;
  #key = this.#hash;
  #counter = 0;
  #ephemeral = Curve.generateKeyPair();
  #static = Curve.generateKeyPair();
  #in = NOTHING;
  #intro = false;
  #read = null; // [key, counter] when the handshake is over
  #write = null;

  constructor() {
    this.#mix(NOISE_WA_HEADER);
  }

  // Whole frames of what came.
  frames(data) {
    this.#in = Buffer.concat([this.#in, data]);
    if (!this.#intro) {
      if (this.#in.length < NOISE_WA_HEADER.length) return [];
      this.#in = this.#in.subarray(NOISE_WA_HEADER.length);
      this.#intro = true;
    }
    const found = [];
    while (this.#in.length >= 3) {
      const size = this.#in.readUIntBE(0, 3);
      if (this.#in.length < size + 3) break;
      found.push(this.#in.subarray(3, 3 + size));
      this.#in = this.#in.subarray(3 + size);
    }
    return found;
  }

  hello(frame) {
    const { clientHello } = proto.HandshakeMessage.decode(frame);
    this.#client = clientHello.ephemeral;
    this.#mix(this.#client);
    this.#mix(this.#ephemeral.public);
    this.#into(Curve.sharedKey(this.#ephemeral.private, this.#client));
    const static_ = this.#encrypt(this.#static.public);
    this.#into(Curve.sharedKey(this.#static.private, this.#client));
    const payload = this.#encrypt(CHAIN);
    const serverHello = { ephemeral: this.#ephemeral.public, static: static_, payload };
    return framed(Buffer.from(proto.HandshakeMessage.encode({ serverHello }).finish()));
  }

  // The client's payload: who it is, or that it wants to be linked.
  finish(frame) {
    const { clientFinish } = proto.HandshakeMessage.decode(frame);
    const theirs = this.#decrypt(clientFinish.static);
    this.#into(Curve.sharedKey(this.#ephemeral.private, theirs));
    const payload = proto.ClientPayload.decode(this.#decrypt(clientFinish.payload));
    const keys = hkdf(NOTHING, 64, { salt: this.#salt, info: "" });
    this.#read = [keys.subarray(0, 32), 0];
    this.#write = [keys.subarray(32), 0];
    return payload;
  }

  encode(node) {
    return framed(aesEncryptGCM(encodeBinaryNode(node), this.#write[0], iv(this.#write[1]++), NOTHING));
  }

  decode(frame) {
    return decodeBinaryNode(aesDecryptGCM(frame, this.#read[0], iv(this.#read[1]++), NOTHING));
  }

  #client = null;

  #mix(data) {
    this.#hash = sha256(Buffer.concat([this.#hash, data]));
  }

  #into(shared) {
    const keys = hkdf(Buffer.from(shared), 64, { salt: this.#salt, info: "" });
    [this.#salt, this.#key, this.#counter] = [keys.subarray(0, 32), keys.subarray(32), 0];
  }

  #encrypt(plain) {
    const made = aesEncryptGCM(plain, this.#key, iv(this.#counter++), this.#hash);
    this.#mix(made);
    return made;
  }

  #decrypt(sealed) {
    const plain = aesDecryptGCM(sealed, this.#key, iv(this.#counter++), this.#hash);
    this.#mix(sealed);
    return plain;
  }
}

function framed(data) {
  const length = Buffer.alloc(3);
  length.writeUIntBE(data.length, 0, 3);
  return Buffer.concat([length, data]);
}
