// The stream of changes, with reconnection.

import { DiscoveryError, protocol, timedOut, unreachable } from "./errors.js";
import { parsePeer, parseResponse } from "./json.js";
import { SseParser } from "./sse.js";
import { anySignal, fullJitter, sleep } from "./time.js";
import { reason } from "./transport.js";

// How long a stream may be silent, in seconds. The service sends a comment every 15 seconds, so
// three comments are missing by then.
const SILENCE = 45;
// The upper bound of the random part of the first wait before a reconnection, in seconds.
const FIRST_CEILING = 1;
// The maximum of that upper bound, and of the wait that the service requests.
const HIGHEST_CEILING = 60;

/**
 * @typedef {import("./types.js").WatchEvent} WatchEvent
 */

/**
 * The changes of the peers that match, as an async iterator. `Client.watch` creates it.
 *
 * After a transient failure it yields `interrupted` and reconnects without limit. It resumes after
 * the last event, so that no change is missed; if the service no longer has the changes since then,
 * the watch yields `reset`. A permanent failure is thrown and ends the watch.
 */
export class Watch {
  #transport;
  #parameters;
  #cursor;
  #closed = new AbortController();
  #signal;
  /** @type {Connection | undefined} */
  #connection;
  /** @type {import("./sse.js").Frame[]} */
  #frames = [];
  #hasEnded = false;
  #isStarted = false;
  #failures = 0;
  #wait = 0;
  #requestedWait = 0;

  /**
   * @param {import("./transport.js").Transport} transport
   * @param {[string, string][]} parameters
   * @param {string} [since]
   * @param {AbortSignal} [signal]
   */
  constructor(transport, parameters, since, signal) {
    this.#transport = transport;
    this.#parameters = parameters;
    this.#cursor = since;
    this.#signal = signal ? anySignal(signal, this.#closed.signal) : this.#closed.signal;
  }

  /** The cursor after the latest event, for `since` of a later watch. */
  get cursor() {
    return this.#cursor;
  }

  /** Closes the connection and ends the watch. A pending call of `next` then resolves with `done`. */
  close() {
    this.#hasEnded = true;
    this.#closed.abort();
    this.#disconnect();
  }

  /** @returns {AsyncIterableIterator<WatchEvent>} */
  [Symbol.asyncIterator]() {
    return this;
  }

  /** @returns {Promise<IteratorResult<WatchEvent, undefined>>} */
  async next() {
    while (!this.#hasEnded) {
      try {
        const value = await this.#step();
        if (value) {
          return { done: false, value };
        }
      } catch (error) {
        if (this.#closed.signal.aborted) {
          break;
        }
        if (!(error instanceof DiscoveryError) || !error.isTransient) {
          this.close();
          throw error;
        }
        return { done: false, value: this.#interrupted(error) };
      }
    }
    return { done: true, value: undefined };
  }

  /** @returns {Promise<IteratorResult<WatchEvent, undefined>>} */
  async return() {
    this.close();
    return { done: true, value: undefined };
  }

  /**
   * Connects if necessary, and then handles the next frame, or receives more frames if there is
   * none. Returns `undefined` if this yields no event.
   */
  async #step() {
    if (this.#wait > 0) {
      await sleep(this.#wait, this.#signal);
      this.#wait = 0;
    }
    this.#connection ??= await this.#connect();
    const frame = this.#frames.shift();
    if (frame) {
      return this.#read(this.#connection, frame);
    }
    try {
      this.#frames.push(...(await this.#connection.read()));
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof DiscoveryError) {
        this.#transport.failed(this.#connection.endpoint, error);
      }
      throw error;
    }
    return undefined;
  }

  async #connect() {
    const since = this.#cursor === undefined ? [] : [["since", this.#cursor]];
    const query = new URLSearchParams([...this.#parameters, ...since]);
    const limit = new AbortController();
    const signal = anySignal(this.#signal, limit.signal);
    const { endpoint, response } = await this.#transport.open(`watch?${query}`, signal).catch((error) => {
      limit.abort();
      throw error;
    });
    const connection = new Connection(endpoint, response, limit);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
      connection.close();
      throw protocol(endpoint, response.status, "no stream of events");
    }
    return connection;
  }

  #disconnect() {
    this.#connection?.close();
    this.#connection = undefined;
    this.#frames = [];
  }

  /**
   * Returns the event in a frame, if it has one, and moves the cursor past the frame.
   * @param {Connection} connection
   * @param {import("./sse.js").Frame} frame
   */
  #read(connection, frame) {
    if (frame.retry !== undefined) {
      this.#requestedWait = Math.min(frame.retry / 1_000, HIGHEST_CEILING);
    }
    let event;
    try {
      event = this.#event(frame);
    } catch (error) {
      throw protocol(connection.endpoint, 200, `a malformed event (${error})`);
    }
    this.#cursor = frame.id || this.#cursor;
    this.#failures = 0;
    return event;
  }

  /**
   * @param {import("./sse.js").Frame} frame
   * @returns {WatchEvent | undefined}
   */
  #event({ event, data }) {
    switch (event) {
      case "start": {
        this.#cursor = parseResponse(data).since;
        const resumes = this.#isStarted;
        this.#isStarted = true;
        return { type: resumes ? "resumed" : "started" };
      }
      case "reset":
        this.#cursor = parseResponse(data).since;
        this.#isStarted = true;
        return { type: "reset" };
      case "joined":
      case "changed":
        return { type: event, peer: parsePeer(data) };
      case "left":
        return { type: "left", peer_id: parseResponse(data).peer_id };
      default:
        // A comment, which only moves the cursor, or an event of a later version of the service.
        return undefined;
    }
  }

  /**
   * @param {DiscoveryError} error
   * @returns {WatchEvent}
   */
  #interrupted(error) {
    this.#disconnect();
    this.#failures += 1;
    const requested = Math.min(error.retryAfterSeconds ?? this.#requestedWait, HIGHEST_CEILING);
    // The jitter on top spreads out clients that received the same `Retry-After`.
    this.#wait = requested + fullJitter(this.#failures, FIRST_CEILING, HIGHEST_CEILING);
    return { type: "interrupted", error, retryInSeconds: this.#wait };
  }
}

/** One connection of a watch. */
class Connection {
  #reader;
  #limit;
  #decoder = new TextDecoder();
  #parser = new SseParser();

  /**
   * @param {string} endpoint
   * @param {Response} response
   * @param {AbortController} limit closes the connection
   */
  constructor(endpoint, response, limit) {
    this.endpoint = endpoint;
    this.#reader = response.body?.getReader();
    this.#limit = limit;
  }

  /** The frames that the next bytes complete. */
  async read() {
    const timer = setTimeout(() => this.#limit.abort(), SILENCE * 1_000);
    let chunk;
    try {
      chunk = await this.#reader?.read();
    } catch (error) {
      throw this.#limit.signal.aborted
        ? timedOut(this.endpoint, SILENCE)
        : unreachable(this.endpoint, reason(error), error);
    } finally {
      clearTimeout(timer);
    }
    if (!chunk || chunk.done) {
      throw unreachable(this.endpoint, "the service closed the stream");
    }
    try {
      return this.#parser.feed(this.#decoder.decode(chunk.value, { stream: true }));
    } catch (error) {
      throw protocol(this.endpoint, 200, reason(error));
    }
  }

  close() {
    this.#limit.abort();
  }
}
