// The mail of one peer: signed messages to other peers, and verified ones from them.

import { DiscoveryError } from "./errors.js";
import { SignedMessage } from "./signed-message.js";
import { fullJitter, seconds, sleep } from "./time.js";

// How long the service may wait for mail before it responds to a request for mail, in seconds.
const WAIT_SECONDS = 25;
// The interval between two requests for mail while the peer expects none, in seconds, if the
// service does not let requests wait for mail. It is half of the time for which the service keeps a
// message.
const IDLE_POLL_SECONDS = 30;
// The maximum interval that the service can request, in seconds. Timers can't wait for more than 24 days.
const LONGEST_POLL_SECONDS = 3_600;
// The interval, in seconds, at which a peer that is not registered checks whether it is.
const TOKEN_POLL_SECONDS = 1;
// The maximum difference between the time of a message and now, in seconds. Received messages are
// remembered for twice as long, so that repetitions are dropped.
const MAX_AGE_SECONDS = 300;
// After a failed request, the mailbox waits for a second and a random time. The first number is the
// upper bound of that time after one failure, in seconds. The bound doubles with each further
// failure, up to the second number.
const FIRST_CEILING = 1;
const HIGHEST_CEILING = 30;

/**
 * The peer that sends and receives, as its lease keeper provides it to this module.
 * @typedef {object} Local
 * @property {string} peer_id
 * @property {import("./secret-key.js").SecretKey} key
 * @property {() => string | undefined} token returns the lease token, or `undefined` until the peer
 *   is registered
 * @property {() => number} now the time of the service, in milliseconds since the Unix epoch
 * @property {Promise<void>} ended resolves when the peer is no longer kept registered; never rejects
 */

/**
 * `onMessage` gets each message once. Of several messages with the same sender, key and `sid`, it
 * gets only one. While `isExpecting` returns true, mail is requested as often as the service
 * permits, even if the service does not let requests wait for mail.
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
  /** @type {Map<string, number>} When messages were received, by sender, key and session. */
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
    local.ended.then(() => this.close());
    this.#receive();
  }

  /**
   * Signs a message, and leaves it in the mailbox of another peer. If this peer is not registered, waits
   * until it is. Rejects as `Client.mail` does, except for `repeated_message`, and if the mailbox
   * is closed during that wait.
   *
   * The receiver gets one message of each sender per `sid` within two minutes; further ones are dropped
   * without an error. Use `SignedMessage.newSession()` for each message that is not an answer.
   * @param {string} to
   * @param {import("./signed-message.js").Message} message
   * @param {{signal?: AbortSignal}} [options]
   */
  async send(to, { sid, type, sdp }, { signal } = {}) {
    const { peer_id, key } = this.#local;
    const lease_token = await this.#token(signal);
    const message = await SignedMessage.sign({ from: peer_id, to, sid, type, sdp }, key, this.#local.now());
    try {
      await this.#client.mail({ to, lease_token, message }, { signal });
    } catch (error) {
      // `repeated_message` means that the receiver's mailbox has already accepted a message with
      // this `sid`, for example in an earlier attempt whose response was lost.
      if (!(error instanceof DiscoveryError) || error.code !== "repeated_message") {
        throw error;
      }
    }
    this.#wake.abort();
  }

  /** Stops receiving. */
  close() {
    this.#closed.abort();
    this.#wake.abort();
  }

  /**
   * The token of the peer, once it is registered.
   * @param {AbortSignal} [signal]
   */
  async #token(signal) {
    for (;;) {
      const token = this.#local.token();
      if (token !== undefined) {
        return token;
      }
      this.#closed.signal.throwIfAborted();
      await sleep(TOKEN_POLL_SECONDS, signal);
    }
  }

  /** Requests mail until `close` is called. Each request acknowledges the mail received last. */
  async #receive() {
    const { signal } = this.#closed;
    /** @type {string[]} */
    let acknowledge = [];
    let failures = 0;
    while (!signal.aborted) {
      let pause = TOKEN_POLL_SECONDS;
      const sentAt = seconds();
      const lease_token = this.#local.token();
      if (lease_token !== undefined) {
        try {
          const request = { peer_id: this.#local.peer_id, lease_token, acknowledge, wait_seconds: WAIT_SECONDS };
          const { mail, next_poll_seconds } = await this.#client.mailbox(request, { signal });
          acknowledge = mail.map(({ id }) => id);
          // Messages are handled concurrently. A message that can't be verified or handled is
          // dropped.
          mail.forEach(({ from, message }) => this.#take(from, message).catch(() => undefined));
          failures = 0;
          pause = Number.isFinite(next_poll_seconds)
            ? Math.min(Math.max(next_poll_seconds, 0), LONGEST_POLL_SECONDS)
            : IDLE_POLL_SECONDS;
          if (mail.length === 0 && !this.#isExpecting() && pause > 0) {
            pause = IDLE_POLL_SECONDS;
          }
          if (mail.length === 0 && seconds() - sentAt < 1) {
            pause = Math.max(pause, 1); // the service did not wait, for example because it stops
          }
        } catch {
          failures += 1;
          pause = 1 + fullJitter(failures, FIRST_CEILING, HIGHEST_CEILING);
        }
      }
      if (!signal.aborted) {
        this.#wake = new AbortController();
        await sleep(pause, this.#wake.signal).catch(() => undefined);
      }
    }
  }

  /**
   * Verifies a message. Passes it on if it is for this peer, recent and not a repetition.
   * @param {string} from
   * @param {string} text
   */
  async #take(from, text) {
    const message = await SignedMessage.verify(text);
    const age = Math.abs(this.#local.now() / 1_000 - message.issued_at);
    // The sender, the key and the `sid` together identify a session. Without the key, a message
    // that another key has signed would suppress the genuine one.
    const isForMe = message.to === this.#local.peer_id && message.from === from;
    if (isForMe && age <= MAX_AGE_SECONDS && this.#isNew(`${from} ${message.signed_by} ${message.sid}`)) {
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
