// The peers that the page knows.

// A network with more than WHOLE_UP_TO peers is shown as a sample of SAMPLE peers, so that the page
// stays fast.
export const WHOLE_UP_TO = 2_000;
export const SAMPLE = 1_000;

// How long a peer that has joined is shown as new, in milliseconds.
const NEW_FOR = 3_000;

/** A peer, and what the page knows about its lease. Times are those of `performance.now()`. */
export class Entry {
  /** @param {import("./client/types.js").Peer} peer */
  constructor(peer) {
    this.peer = peer;
    this.searched = "";
    this.addedAt = performance.now();
    this.joinedAt = -Infinity;
    this.lease = 0;
    this.endsAt = Infinity;
    /** @type {number | undefined} */
    this.registeredAt = undefined;
    this.update(peer);
  }

  get id() {
    return this.peer.peer_id;
  }

  /** @param {import("./client/types.js").Peer} peer */
  update(peer) {
    this.peer = peer;
    // The text in which a search looks, in lower case.
    this.searched = [peer.peer_id, peer.address, ...(peer.archetypes ?? []), peer.metadata_text ?? ""]
      .join("\n")
      .toLowerCase();
    const left = peer.expires_in_seconds;
    if (left !== undefined) {
      const now = performance.now();
      this.endsAt = now + left * 1_000;
      this.lease = Math.max(this.lease, left);
      this.registeredAt = now - (peer.registered_seconds_ago ?? 0) * 1_000;
    }
  }

  /** The seconds until the lease ends, as far as the page knows. */
  secondsLeft() {
    return Math.max(0, (this.endsAt - performance.now()) / 1_000);
  }

  isNew() {
    return performance.now() - this.joinedAt < NEW_FOR;
  }
}

/**
 * What happened to a peer: the page found it in a list, it has just joined, its registration changed,
 * it is no longer listed (`left` or `expired`), or the page forgot it (`dropped`).
 * @typedef {"found" | "joined" | "changed" | "left" | "expired" | "dropped"} Change
 */

/** The peers by id. Calls its listeners with every change. */
export class Directory {
  /** @type {Map<string, Entry>} */
  entries = new Map();
  /** Whether the entries are a sample of a larger network. */
  isSample = false;
  /** The number of live peers as the service last said. */
  total = 0;
  /** @type {((change: Change, entry: Entry) => void)[]} */
  listeners = [];

  /**
   * Adds or updates a peer.
   * @param {import("./client/types.js").Peer} peer
   * @param {"found" | "joined" | "changed"} change
   */
  put(peer, change) {
    let entry = this.entries.get(peer.peer_id);
    if (entry) {
      entry.update(peer);
      if (change !== "found") {
        this.#tell("changed", entry);
      }
      return;
    }
    entry = new Entry(peer);
    if (change === "joined") {
      entry.joinedAt = performance.now();
    }
    if (this.isSample && this.entries.size >= SAMPLE && !this.#makeRoom(change)) {
      return;
    }
    this.entries.set(peer.peer_id, entry);
    this.#tell(change === "changed" ? "found" : change, entry);
  }

  /**
   * Removes a peer that is no longer listed. It counts as expired if its lease, as far as the page
   * knows, has ended or ends within a second.
   * @param {string} id
   */
  remove(id) {
    const entry = this.entries.get(id);
    if (entry) {
      this.entries.delete(id);
      this.#tell(entry.endsAt <= performance.now() + 1_000 ? "expired" : "left", entry);
    }
  }

  /** Forgets a peer that may still be listed. @param {Entry} entry */
  drop(entry) {
    this.entries.delete(entry.id);
    this.#tell("dropped", entry);
  }

  clear() {
    for (const entry of [...this.entries.values()]) {
      this.drop(entry);
    }
  }

  /**
   * Decides whether a peer enters the full sample, and removes a random one if so. A peer that
   * joined or changed enters with the probability SAMPLE / total. This keeps the sample uniform when
   * peers join. A peer that was found in a list always enters.
   * @param {"found" | "joined" | "changed"} change
   */
  #makeRoom(change) {
    if (change !== "found" && Math.random() * Math.max(this.total, SAMPLE) >= SAMPLE) {
      return false;
    }
    const index = Math.floor(Math.random() * this.entries.size);
    let at = 0;
    for (const entry of this.entries.values()) {
      if (at++ === index) {
        this.drop(entry);
        return true;
      }
    }
    return false;
  }

  /**
   * @param {Change} change
   * @param {Entry} entry
   */
  #tell(change, entry) {
    for (const listener of this.listeners) {
      listener(change, entry);
    }
  }
}
