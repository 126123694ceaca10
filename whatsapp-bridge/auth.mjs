// The linked device's keys live with Moked, sealed, behind a lease. A write is stored before its promise resolves, so that
// the ratchet never goes back. Values are Baileys' own JSON; what kinds of keys there are is Baileys' affair.
//
// What decrypting a message writes is held back until the message itself is stored: a process that dies between the two
// finds the ratchet where it was, and can read the message when it comes again. Other writes go on, but for those of the
// same keys. (Not Baileys' own cache: its one lock for all keys would let the two wait for each other.)

import { AsyncLocalStorage } from "node:async_hooks";
import { BufferJSON, initAuthCreds, proto } from "baileys";

const MOST_KEPT = 10_000;
const text = (value) => JSON.stringify(value, BufferJSON.replacer);
const value = (kept) => JSON.parse(kept, BufferJSON.reviver);

class Keys {
  #link;
  #kept = new Map(); // "category\0id" -> text, or null for one that is not there; the newest value, stored or not
  #last = Promise.resolve(); // writes are stored in their order
  #unstored = 0;
  #gates = new AsyncLocalStorage();
  #heldBy = new Map(); // "category\0id" -> gate

  constructor(link) {
    this.#link = link;
  }

  // Baileys' store of keys.
  async get(category, ids) {
    const unknown = ids.filter((id) => !this.#kept.has(`${category}\0${id}`));
    if (unknown.length) {
      const found = await this.#link.ask("auth.get", { category, ids: unknown });
      for (const id of unknown) {
        const key = `${category}\0${id}`;
        if (!this.#kept.has(key)) this.#kept.set(key, found[id] ?? null); // unless it was written meanwhile
      }
    }
    const revived = {};
    for (const id of ids) {
      const kept = this.#kept.get(`${category}\0${id}`);
      if (kept === null || kept === undefined) continue;
      const key = value(kept);
      revived[id] = category === "app-state-sync-key" ? proto.Message.AppStateSyncKeyData.fromObject(key) : key;
    }
    this.#shed();
    return revived;
  }

  async set(batch) {
    const keys = [];
    for (const [category, entries] of Object.entries(batch)) {
      for (const [id, entry] of Object.entries(entries)) {
        keys.push(`${category}\0${id}`);
        this.#kept.set(keys.at(-1), entry === null || entry === undefined ? null : text(entry));
      }
    }
    const gate = this.#gates.getStore();
    if (gate && !batch["identity-key"]) {
      for (const key of keys) this.#heldBy.set(key, gate.keys.add(key) && gate);
      return;
    }
    await Promise.all(keys.map((key) => this.#heldBy.get(key)?.done));
    await this.#write(keys);
  }

  // Run `work`; what it writes is stored when `release` is called, and `release` resolves then.
  async holding(work) {
    const gate = { keys: new Set() };
    gate.done = new Promise((resolve) => (gate.open = resolve));
    const release = async () => {
      const written = this.#write([...gate.keys]);
      for (const key of gate.keys) if (this.#heldBy.get(key) === gate) this.#heldBy.delete(key);
      gate.open();
      await written;
    };
    try {
      return [await this.#gates.run(gate, work), release];
    } catch (error) {
      await release();
      throw error;
    }
  }

  // The newest values of `keys`.
  #write(keys) {
    if (!keys.length) return Promise.resolve();
    const rows = {};
    for (const key of keys) {
      const [category, id] = key.split("\0");
      (rows[category] ??= {})[id] = this.#kept.get(key) ?? null;
    }
    return this.store(rows);
  }

  store(rows) {
    this.#unstored += 1;
    const written = this.#last.then(() => this.#link.ask("auth.set", { rows }));
    this.#last = written.then(
      () => (this.#unstored -= 1),
      () => process.exit(4), // somebody else has the account
    );
    return written;
  }

  // When all that was written so far is stored.
  flushed() {
    return this.#last;
  }

  #shed() {
    if (this.#kept.size > MOST_KEPT && !this.#unstored && !this.#heldBy.size) this.#kept.clear();
  }
}

export async function loadAuth(link) {
  const { creds: kept } = await link.ask("auth.get", { category: "creds", ids: ["creds"] });
  const creds = kept ? value(kept) : initAuthCreds();
  if (!creds.account) creds.me = creds.pairingCode = undefined; // a pairing that was never finished
  const keys = new Keys(link);
  return { creds, keys, save: () => keys.store({ creds: { creds: text(creds) } }) };
}
