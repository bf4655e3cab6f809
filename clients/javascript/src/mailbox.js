// The mail of one peer: signed messages to other peers, and verified ones from them.

import { DiscoveryError } from "./errors.js";
import { SignedMessage } from "./signed-message.js";
import { anySignal, fullJitter, seconds, sleep } from "./time.js";

// How long a request for mail asks the service to wait for mail, in seconds.
const WAIT_SECONDS = 25;
// The interval between two requests of an idle peer, in seconds, if the service does not let requests
// wait: half of the time for which the service keeps a message.
const IDLE_POLL_SECONDS = 30;
// The maximum age of a message, in seconds. Messages are remembered for twice as long, so that a
// repeated one is dropped.
const MAX_AGE_SECONDS = 300;
// The upper bounds of the wait after a failure, in seconds.
const FIRST_CEILING = 1;
const HIGHEST_CEILING = 30;

/**
 * The peer that sends and receives: its lease keeper, as this module needs it.
 * @typedef {object} Local
 * @property {string} peer_id
 * @property {import("./secret-key.js").SecretKey} key
 * @property {() => string | undefined} token nothing until the peer is registered
 * @property {() => number} now the time of the service, in milliseconds since the Unix epoch
 */

/**
 * `onMessage` gets each message once. While `isExpecting` returns true, mail is requested as often as the
 * service permits, also if its requests do not wait.
 * @typedef {object} MailboxOptions
 * @property {(message: SignedMessage) => void | Promise<void>} onMessage
 * @property {() => boolean} [isExpecting]
 */

/** The mailbox of one peer. `LeaseKeeper.mailbox` creates it. */
export class Mailbox {
  #client;
  #local;
  #onMessage;
  #isExpecting;
  #closed = new AbortController();
  /** Ends the wait between two requests. */
  #wake = new AbortController();
  /** @type {Map<string, number>} When messages were received, by sender and session. */
  #seen = new Map();

  /**
   * @param {import("./client.js").Client} client
   * @param {Local} local
   * @param {MailboxOptions} options
   */
  constructor(client, local, { onMessage, isExpecting = () => false }) {
    this.#client = client;
    this.#local = local;
    this.#onMessage = onMessage;
    this.#isExpecting = isExpecting;
    this.#receive();
  }

  /**
   * Signs a message, and leaves it in the mailbox of another peer. Rejects as `Client.mail` does.
   * @param {string} to
   * @param {import("./signed-message.js").Message} message
   * @param {{signal?: AbortSignal}} [options]
   */
  async send(to, { sid, type, sdp }, { signal } = {}) {
    const { peer_id, key } = this.#local;
    const message = await SignedMessage.sign({ from: peer_id, to, sid, type, sdp }, key, this.#local.now());
    try {
      await this.#client.mail({ to, lease_token: this.#local.token() ?? "", message }, { signal });
    } catch (error) {
      // `repeated_message` means that an earlier attempt succeeded and its response was lost.
      if (!(error instanceof DiscoveryError) || error.code !== "repeated_message") {
        throw error;
      }
    }
    this.#wake.abort();
  }

  /** Stops receiving. */
  close() {
    this.#closed.abort();
  }

  /** Requests mail until `close` is called. Each request acknowledges the messages of the previous one. */
  async #receive() {
    const { signal } = this.#closed;
    /** @type {string[]} */
    let acknowledge = [];
    let failures = 0;
    while (!signal.aborted) {
      let pause = 1;
      const sentAt = seconds();
      const lease_token = this.#local.token();
      if (lease_token !== undefined) {
        try {
          const request = { peer_id: this.#local.peer_id, lease_token, acknowledge, wait_seconds: WAIT_SECONDS };
          const { mail, next_poll_seconds } = await this.#client.mailbox(request, { signal });
          acknowledge = mail.map(({ id }) => id);
          // The messages are handled concurrently. One that can't be parsed or verified is dropped.
          mail.forEach(({ from, message }) => this.#take(from, message).catch(() => undefined));
          failures = 0;
          const isIdle = mail.length === 0 && !this.#isExpecting() && next_poll_seconds > 0;
          pause = isIdle ? IDLE_POLL_SECONDS : next_poll_seconds;
          if (mail.length === 0 && seconds() - sentAt < 1) {
            pause = Math.max(pause, 1); // the service did not wait, for example because it stops
          }
        } catch {
          failures += 1;
          pause = 1 + fullJitter(failures, FIRST_CEILING, HIGHEST_CEILING);
        }
      }
      this.#wake = new AbortController();
      await sleep(pause, anySignal(signal, this.#wake.signal)).catch(() => undefined);
    }
  }

  /**
   * Passes a message on, after its signature is verified.
   * @param {string} from
   * @param {string} text
   */
  async #take(from, text) {
    const message = await SignedMessage.verify(text);
    const age = Math.abs(this.#local.now() / 1_000 - message.issued_at);
    const isForMe = message.to === this.#local.peer_id && message.from === from;
    if (isForMe && age <= MAX_AGE_SECONDS && this.#isNew(`${from} ${message.sid}`)) {
      await this.#onMessage(message);
    }
  }

  /**
   * Whether a message is received for the first time. Remembers it.
   * @param {string} session
   */
  #isNew(session) {
    const now = performance.now();
    for (const [known, at] of this.#seen) {
      if (now - at > 2 * MAX_AGE_SECONDS * 1_000) {
        this.#seen.delete(known);
      }
    }
    const isNew = !this.#seen.has(session);
    this.#seen.set(session, now);
    return isNew;
  }
}
