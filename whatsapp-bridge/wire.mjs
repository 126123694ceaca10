// Frames between the bridge and Moked (see docs/decisions/0014-whatsapp.md): JSON in a text frame, or, with bytes beside it,
// a binary frame: length of the JSON (4 bytes, big-endian) | JSON | bytes.
//
//   {id, method, params}            a request, of either side     {id, result} | {id, error: {code, message}}
//   {seq, event, data}              an event, of the bridge       {ack: seq}   all up to seq are stored
//
// What has no answer or acknowledgement when the connection goes is sent again on the next one.

export const MAX_TEXT = 1024 * 1024;
export const MAX_BINARY = 16 * 1024 * 1024 + MAX_TEXT;

export function encode(message, bytes) {
  const text = JSON.stringify(message);
  if (!bytes) return text;
  const head = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, bytes]);
}

export function decode(data, isBinary) {
  if (!isBinary) {
    if (data.length > MAX_TEXT) throw new Error("a text frame is too large");
    return [JSON.parse(data.toString("utf8")), null];
  }
  const length = data.length >= 4 ? data.readUInt32BE(0) : Infinity;
  if (length > data.length - 4 || length > MAX_TEXT) throw new Error("a binary frame is broken");
  return [JSON.parse(data.subarray(4, 4 + length).toString("utf8")), data.subarray(4 + length)];
}
