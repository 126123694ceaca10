// Messages to us, handed over before WhatsApp hears that we have them.
//
// Baileys sends the receipt first and tells its listeners after, so a process that dies in between loses a message for
// ever. Here a message is handed over inside the decryption itself: no receipt goes out before Moked has stored it.

import {
  DEFAULT_CONNECTION_CONFIG,
  decodeMessageNode,
  isLidUser,
  isPnUser,
  jidNormalizedUser,
  normalizeMessageContent,
  proto,
  unpadRandomMax16,
} from "baileys";

const OTHER = ["imageMessage", "videoMessage", "documentMessage", "stickerMessage", "locationMessage", "contactMessage"];

// What Moked is told of a message, or null for what is no message of a person to us.
export function described(full, content) {
  const { key } = full;
  if (key.fromMe || !(isPnUser(key.remoteJid) || isLidUser(key.remoteJid))) return null;
  const inner = normalizeMessageContent(content);
  if (!inner) return null;
  const text = inner.conversation || inner.extendedTextMessage?.text || "";
  const told = {
    id: key.id,
    jid: jidNormalizedUser(key.remoteJid),
    alt: key.remoteJidAlt ? jidNormalizedUser(key.remoteJidAlt) : "",
    name: full.pushName ?? "",
    at: Number(full.messageTimestamp ?? 0),
    kind: "text",
    text,
    raw: "",
  };
  if (inner.audioMessage) {
    const raw = Buffer.from(proto.Message.encode({ audioMessage: inner.audioMessage }).finish()).toString("base64");
    return { ...told, kind: "voice", raw };
  }
  if (text) return told;
  const other = OTHER.find((name) => inner[name]);
  return other ? { ...told, kind: "other", text: inner[other].caption ?? "" } : null;
}

function read(stanza, plain, { id, lid }) {
  const { fullMessage } = decodeMessageNode(stanza, id, lid ?? "");
  return described(fullMessage, proto.Message.decode(unpadRandomMax16(plain)));
}

// A Signal repository that hands each direct message over as part of decrypting it. `stanzas`: ciphertext -> its stanza.
export function handingOver(stanzas, keys, me, deliver) {
  return (...given) => {
    const repository = DEFAULT_CONNECTION_CONFIG.makeSignalRepository(...given);
    const decryptMessage = async (asked) => {
      const [plain, release] = await keys.holding(() => repository.decryptMessage(asked));
      try {
        const stanza = stanzas.get(asked.ciphertext);
        const told = stanza && read(stanza, plain, me());
        if (told) await deliver(told);
      } finally {
        await release();
      }
      return plain;
    };
    return new Proxy(repository, {
      get: (target, name) => (name === "decryptMessage" ? decryptMessage : Reflect.get(target, name)),
    });
  };
}
