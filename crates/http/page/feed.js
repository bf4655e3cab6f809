// Keeps the directory up to date. It lists the peers and then follows the stream of changes. If the
// service has no such stream, it only lists the peers at intervals (polling).

import { DiscoveryError } from "./client/errors.js";
import { SAMPLE, WHOLE_UP_TO } from "./directory.js";

// The time between two lists of all peers is a third of the longest lease, within these bounds in
// seconds. Lists are needed besides the stream of changes, which does not contain renewals: only a list
// shows until when a renewed lease lasts.
const SHORTEST_REFRESH = 1;
const LONGEST_REFRESH = 30;
// The upper bound when polling, where only a list shows that a peer has joined.
const LONGEST_POLL = 10;
// The lower bound with more than MANY peers, because a list of a thousand peers takes the service and
// the page some milliseconds.
const SHORTEST_REFRESH_OF_MANY = 10;
const MANY = 500;

/**
 * @typedef {"live" | "polling" | "busy" | "failed"} State
 */

/** Follows one service until it is closed. */
export class Feed {
  #client;
  #directory;
  #report;
  #closed = new AbortController();
  #isPolling = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #refreshes = 0;

  /**
   * @param {import("./client/client.js").Client} client
   * @param {import("./directory.js").Directory} directory
   * @param {(state: State, text: string, error?: unknown) => void} report
   */
  constructor(client, directory, report) {
    this.#client = client;
    this.#directory = directory;
    this.#report = report;
    document.addEventListener("visibilitychange", () => document.hidden || this.#schedule(0), {
      signal: this.#closed.signal,
    });
    this.#run();
  }

  close() {
    this.#closed.abort();
    clearTimeout(this.#timer);
  }

  async #run() {
    const { signal } = this.#closed;
    try {
      for await (const event of this.#client.watch({ view: "observer" }, { signal })) {
        await this.#take(event);
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (error instanceof DiscoveryError && error.status === 501) {
        this.#isPolling = true;
        await this.#refresh();
      } else {
        this.#report("failed", message(error), error);
      }
    }
  }

  /** @param {import("./client/types.js").WatchEvent} event */
  async #take(event) {
    switch (event.type) {
      case "started":
        return this.#refresh();
      case "reset":
        this.#directory.clear();
        return this.#refresh();
      case "joined":
      case "changed":
        return this.#directory.put(event.peer, event.type);
      case "left":
        return this.#directory.remove(event.peer_id);
      case "interrupted":
        return this.#report("busy", "Reconnecting", event.error);
      case "resumed":
        return this.#report("live", "Live");
    }
  }

  /** Lists the peers, updates the directory, and schedules the next list. */
  async #refresh() {
    clearTimeout(this.#timer);
    const refresh = ++this.#refreshes;
    const directory = this.#directory;
    const startedAt = performance.now();
    const isFirst = directory.entries.size === 0;
    try {
      const peers = await this.#list();
      if (!directory.isSample) {
        const listed = new Set(peers.map((peer) => peer.peer_id));
        for (const { id, addedAt } of [...directory.entries.values()]) {
          if (addedAt < startedAt && !listed.has(id)) {
            directory.remove(id);
          }
        }
      }
      for (const peer of peers) {
        const mayHaveJoined = this.#isPolling && !isFirst && !directory.isSample && !directory.entries.has(peer.peer_id);
        directory.put(peer, mayHaveJoined ? joined(peer) : "found");
      }
      this.#report(this.#isPolling ? "polling" : "live", this.#isPolling ? "Polling" : "Live");
    } catch (error) {
      if (this.#closed.signal.aborted) {
        return;
      }
      const isFinal = error instanceof DiscoveryError && !error.isTransient;
      this.#report(isFinal ? "failed" : "busy", isFinal ? message(error) : "Reconnecting", error);
    }
    // If another refresh has started meanwhile, that one schedules the next list.
    if (refresh === this.#refreshes) {
      this.#schedule(this.#interval());
    }
  }

  /** @param {number} seconds */
  #schedule(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      // A hidden page does not list the peers. It does so when it becomes visible again.
      if (!document.hidden) {
        this.#refresh();
      }
    }, seconds * 1_000);
  }

  #interval() {
    const { entries } = this.#directory;
    let longest = 0;
    for (const entry of entries.values()) {
      longest = Math.max(longest, entry.lease);
    }
    const shortest = entries.size > MANY ? SHORTEST_REFRESH_OF_MANY : SHORTEST_REFRESH;
    return Math.min(this.#isPolling ? LONGEST_POLL : LONGEST_REFRESH, Math.max(shortest, (longest || LONGEST_REFRESH) / 3));
  }

  /** All peers, or a sample of a large network. */
  async #list() {
    const options = { signal: this.#closed.signal };
    const peers = [];
    /** @type {string | undefined} */
    let cursor;
    do {
      /** @type {import("./client/types.js").DiscoverResponse} */
      const page = await this.#client.discover({ view: "observer", order: "all", cursor }, options);
      this.#directory.total = page.total;
      if (page.total > WHOLE_UP_TO) {
        return this.#sample(options);
      }
      peers.push(...page.peers);
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    if (this.#directory.isSample) {
      this.#directory.isSample = false;
      this.#directory.clear();
    }
    return peers;
  }

  /** @param {{signal: AbortSignal}} options */
  async #sample(options) {
    const directory = this.#directory;
    const { peers, total } = await this.#client.discover({ view: "observer", limit: SAMPLE }, options);
    directory.total = total;
    if (!directory.isSample) {
      directory.clear();
      directory.isSample = true;
    }
    // Peers whose lease has ended, as far as the page knows, make room for those of the new sample.
    for (const entry of [...directory.entries.values()].filter((known) => known.secondsLeft() === 0)) {
      directory.drop(entry);
    }
    const isKnown = (/** @type {{peer_id: string}} */ peer) => directory.entries.has(peer.peer_id);
    const room = Math.max(0, SAMPLE - directory.entries.size);
    return [...peers.filter(isKnown), ...peers.filter((peer) => !isKnown(peer)).slice(0, room)];
  }
}

/**
 * How a peer that a list shows for the first time became known: `joined` if it has just registered.
 * @param {import("./client/types.js").Peer} peer
 */
function joined(peer) {
  return (peer.registered_seconds_ago ?? Infinity) <= LONGEST_REFRESH ? "joined" : "found";
}

/**
 * The message of an error.
 * @param {unknown} error
 */
export function message(error) {
  return error instanceof Error ? error.message : String(error);
}
