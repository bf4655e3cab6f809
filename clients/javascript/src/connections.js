// Channels between peers that accept no connections, such as browsers. A channel is a WebRTC data
// channel. WebRTC needs two session descriptions for it, an offer and an answer, which the peers send to
// each other through the mailboxes of the service.

import { base64url } from "./encoding.js";
import { DiscoveryError } from "./errors.js";
import { sign, verify } from "./jws.js";
import { SignedRecord } from "./signed-record.js";
import { anySignal, fullJitter, seconds, sleep } from "./time.js";

const MESSAGE_TYPE = "aurora-mail+jws";
// How long a request for mail asks the service to wait for mail, in seconds.
const WAIT_SECONDS = 25;
// The interval between two requests of an idle peer, in seconds, if the service does not let requests
// wait: half of the time for which the service keeps a message.
const IDLE_POLL_SECONDS = 30;
// The maximum age of a message, in seconds. Received offers are remembered for twice as long, so that a
// repeated offer is not answered again.
const MAX_AGE_SECONDS = 300;
// A description is sent once it has all its candidates, but at most this many seconds after gathering
// began, in case a STUN or TURN server does not respond.
const GATHERING_SECONDS = 3;
const PATIENCE_SECONDS = 30;
// The interval, in seconds, at which a description is sent again until the channel is open, because a
// restart of the service may have lost it. The service refuses a message that it still remembers.
const REPEAT_SECONDS = 10;
// The maximum number of offers that are answered at the same time. Further offers are dropped, because
// each one takes a connection.
const MAX_ANSWERING = 16;
// The upper bounds of the wait after a failure, in seconds.
const FIRST_CEILING = 1;
const HIGHEST_CEILING = 30;

/**
 * The peer at the other end of a channel. It has proved that it holds the key `signed_by`.
 * @typedef {{peer_id: string, signed_by: string}} Remote
 */

/**
 * `onConnection` gets the channels that other peers have opened. `accepts` decides which peers may open
 * one, by default all; compare `signed_by` with the key of the peer that you know. `iceServers` are used
 * in addition to those that the service names.
 * @typedef {object} ConnectionOptions
 * @property {(channel: RTCDataChannel, remote: Remote) => void} [onConnection]
 * @property {(remote: Remote) => boolean | Promise<boolean>} [accepts]
 * @property {RTCIceServer[]} [iceServers]
 * @property {"all" | "relay"} [iceTransportPolicy]
 */

/**
 * The peer that connects: its lease keeper, as this module needs it.
 * @typedef {object} Local
 * @property {string} peer_id
 * @property {import("./secret-key.js").SecretKey} key
 * @property {() => string | undefined} token nothing until the peer is registered
 * @property {() => number} now the time of the service, in milliseconds since the Unix epoch
 * @property {() => RTCIceServer[]} iceServers those that the service names
 */

/**
 * An offer whose channel is not open yet: the other peer, the connection, and the function that takes
 * the open channel.
 * @typedef {object} Attempt
 * @property {Remote} remote
 * @property {RTCPeerConnection} connection
 * @property {(channel: RTCDataChannel) => void} opened
 */

/** Connects one peer with others. `LeaseKeeper.connections` creates it. */
export class Connections {
  #client;
  #local;
  #options;
  #closed = new AbortController();
  /** Ends the wait between two requests for mail. */
  #wake = new AbortController();
  /** @type {Map<string, Attempt>} The offers of this peer whose channel is not open yet, by session. */
  #offers = new Map();
  /** @type {Map<string, number>} When offers were received, by sender and session. */
  #seen = new Map();
  #answering = 0;
  /** @type {WeakMap<RTCDataChannel, RTCPeerConnection>} The connections of open channels. */
  #connections = new WeakMap();

  /**
   * @param {import("./client.js").Client} client
   * @param {Local} local
   * @param {ConnectionOptions} options
   */
  constructor(client, local, options) {
    this.#client = client;
    this.#local = local;
    this.#options = options;
    this.#receive();
  }

  /**
   * Opens a channel to a peer of the full view. When the promise resolves, the other peer has proved
   * that it holds the key that has signed `peer.signed`.
   *
   * Rejects with a DiscoveryError if the service refuses the offer: `peer_not_registered` if the peer is
   * not live, `no_mailbox` if it does not accept mail. Rejects with an Error of the name `TimeoutError`
   * if there is no channel within 30 s.
   * @param {{peer_id: string, signed?: string}} peer
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<RTCDataChannel>}
   */
  async connect({ peer_id, signed }, { signal = this.#closed.signal } = {}) {
    const record = await SignedRecord.verify(signed ?? "");
    if (record.peer_id !== peer_id) {
      throw new TypeError(`the record was signed for ${record.peer_id}, not for ${peer_id}`);
    }
    const remote = { peer_id, signed_by: record.signed_by };
    const connection = this.#newConnection();
    const channel = connection.createDataChannel("aurora");
    const sid = base64url(crypto.getRandomValues(new Uint8Array(16)));
    const limit = anySignal(signal, this.#closed.signal, AbortSignal.timeout(PATIENCE_SECONDS * 1_000));
    /** @type {Promise<RTCDataChannel>} */
    const opened = new Promise((resolve, reject) => {
      this.#offers.set(sid, { remote, connection, opened: resolve });
      this.#open(channel, connection, limit).then(resolve, reject);
    });
    try {
      opened.catch(() => undefined); // also if sending fails first
      await connection.setLocalDescription();
      await this.#send("offer", sid, peer_id, connection, opened, limit);
      this.#wake.abort();
      return await opened;
    } catch (error) {
      connection.close();
      throw error;
    } finally {
      this.#offers.delete(sid);
    }
  }

  /**
   * Yields an open channel to a peer. After that channel has closed, yields a new one, and so on, until
   * `signal` is aborted or the loop ends. Waits between attempts grow up to 30 s. Throws a permanent
   * refusal of the service.
   * @param {{peer_id: string, signed?: string}} peer
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<RTCDataChannel, void, undefined>}
   */
  async *channels(peer, { signal = this.#closed.signal } = {}) {
    for (let failures = 0; ; ) {
      try {
        const channel = await this.connect(peer, { signal });
        failures = 0;
        yield channel;
        await this.#hasClosed(channel, signal);
      } catch (error) {
        const isAbsent = error instanceof DiscoveryError && (error.isTransient || error.code === "peer_not_registered");
        if (signal.aborted || !(isAbsent || (error instanceof DOMException && error.name === "TimeoutError"))) {
          throw error;
        }
        failures += 1;
      }
      await sleep(fullJitter(failures + 1, FIRST_CEILING, HIGHEST_CEILING), signal);
    }
  }

  /** Stops receiving offers. Open channels stay open. */
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
          const isIdle = mail.length === 0 && this.#offers.size === 0 && next_poll_seconds > 0;
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
   * Acts on a message, after its signature is verified.
   * @param {string} from
   * @param {string} message
   */
  async #take(from, message) {
    const { key, payload } = await verify(message, MESSAGE_TYPE);
    const { sid, iat, type, sdp } = payload;
    const age = Math.abs(this.#local.now() / 1_000 - iat);
    const isForMe = payload.to === this.#local.peer_id && payload.from === from;
    if (!isForMe || typeof sid !== "string" || typeof sdp !== "string" || !(age <= MAX_AGE_SECONDS)) {
      return;
    }
    const remote = { peer_id: from, signed_by: key };
    if (type === "answer") {
      const offer = this.#offers.get(sid);
      // Only the holder of the key can answer, because the description, with the fingerprint of the
      // connection's certificate, is signed. Not even the service can put itself in between.
      if (offer && isSame(offer.remote, remote)) {
        await offer.connection.setRemoteDescription({ type, sdp });
      }
    } else if (type === "offer" && this.#isNew(`${from} ${sid}`) && this.#answering < MAX_ANSWERING) {
      this.#answering += 1;
      await this.#answer(remote, sid, sdp).finally(() => (this.#answering -= 1));
    }
  }

  /**
   * Answers an offer. If both peers have sent each other an offer, only the peer with the smaller id
   * answers: it uses the other peer's offer and gives up its own.
   * @param {Remote} remote
   * @param {string} sid
   * @param {string} sdp
   */
  async #answer(remote, sid, sdp) {
    const own = [...this.#offers.values()].find((offer) => isSame(offer.remote, remote));
    if (own ? this.#local.peer_id > remote.peer_id : !(await (this.#options.accepts?.(remote) ?? true))) {
      return;
    }
    const limit = anySignal(this.#closed.signal, AbortSignal.timeout(PATIENCE_SECONDS * 1_000));
    const connection = this.#newConnection();
    try {
      /** @type {Promise<RTCDataChannel>} */
      const channel = new Promise((resolve, reject) => {
        const take = (/** @type {RTCDataChannelEvent} */ event) =>
          this.#open(event.channel, connection, limit).then(resolve, reject);
        connection.addEventListener("datachannel", take, { once: true });
        aborted(limit).catch(reject);
      });
      channel.catch(() => undefined); // also if sending fails first
      await connection.setRemoteDescription({ type: "offer", sdp });
      await connection.setLocalDescription();
      await this.#send("answer", sid, remote.peer_id, connection, channel, limit);
      const opened = await channel;
      if (own) {
        own.opened(opened);
        own.connection.close();
      } else {
        this.#options.onConnection?.(opened, remote);
      }
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /**
   * Sends the local description of a connection once it has its candidates, and again at intervals until
   * `opened` is settled.
   * @param {"offer" | "answer"} type
   * @param {string} sid
   * @param {string} to
   * @param {RTCPeerConnection} connection
   * @param {Promise<unknown>} opened
   * @param {AbortSignal} signal
   */
  async #send(type, sid, to, connection, opened, signal) {
    await hasGathered(connection);
    const { peer_id, key } = this.#local;
    const sdp = connection.localDescription?.sdp;
    const payload = { from: peer_id, to, sid, iat: Math.floor(this.#local.now() / 1_000), type, sdp };
    const message = await sign(JSON.stringify(payload), MESSAGE_TYPE, key);
    const send = () => this.#client.mail({ to, lease_token: this.#local.token() ?? "", message }, { signal });
    try {
      await send();
    } catch (error) {
      // `repeated_message` means that an earlier attempt succeeded and its response was lost.
      if (!(error instanceof DiscoveryError) || error.code !== "repeated_message") {
        throw error;
      }
    }
    const repeat = setInterval(() => send().catch(() => undefined), REPEAT_SECONDS * 1_000);
    const end = () => clearInterval(repeat);
    opened.then(end, end);
  }

  #newConnection() {
    const { iceServers = [], iceTransportPolicy } = this.#options;
    return new RTCPeerConnection({ iceServers: [...this.#local.iceServers(), ...iceServers], iceTransportPolicy });
  }

  /**
   * Waits until the only channel of a connection is open. When the channel closes, the connection is
   * closed too.
   * @param {RTCDataChannel} channel
   * @param {RTCPeerConnection} connection
   * @param {AbortSignal} signal
   */
  async #open(channel, connection, signal) {
    this.#connections.set(channel, connection);
    channel.addEventListener("close", () => connection.close(), { once: true });
    if (channel.readyState !== "open") {
      await Promise.race([event(channel, "open"), aborted(signal)]);
    }
    return channel;
  }

  /**
   * Waits until a channel is closed or its connection has failed, and then closes the connection.
   * @param {RTCDataChannel} channel
   * @param {AbortSignal} signal
   */
  async #hasClosed(channel, signal) {
    const connection = this.#connections.get(channel);
    while (connection && channel.readyState !== "closed" && connection.connectionState !== "failed") {
      const changed = event(connection, "connectionstatechange");
      await Promise.race([event(channel, "close"), changed, aborted(signal)]);
    }
    connection?.close();
  }

  /**
   * Whether an offer is received for the first time. Remembers it.
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

/**
 * @param {Remote} one
 * @param {Remote} other
 */
function isSame(one, other) {
  return one.peer_id === other.peer_id && one.signed_by === other.signed_by;
}

/**
 * Waits until the description of a connection has its candidates.
 * @param {RTCPeerConnection} connection
 * @returns {Promise<void>}
 */
function hasGathered(connection) {
  return new Promise((resolve) => {
    const check = () => connection.iceGatheringState === "complete" && resolve();
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, GATHERING_SECONDS * 1_000);
    check();
  });
}

/**
 * Waits for an event.
 * @param {EventTarget} target
 * @param {string} name
 */
function event(target, name) {
  return new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
}

/**
 * Rejects with the reason of a signal, when it is aborted.
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
function aborted(signal) {
  return new Promise((_, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
    }
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
