// WebRTC data channels between peers that accept no connections, such as browsers. To open a
// channel, the peers exchange two session descriptions, an offer and an answer, through their
// mailboxes on the service.

import { DiscoveryError } from "./errors.js";
import { Mailbox } from "./mailbox.js";
import { SignedMessage } from "./signed-message.js";
import { SignedRecord } from "./signed-record.js";
import { anySignal, fullJitter, sleep } from "./time.js";

// A description is sent once it has all ICE candidates. It is sent this many seconds after
// gathering them began at the latest, in case a STUN or TURN server does not respond.
const GATHERING_SECONDS = 3;
// The time limit of an attempt to open a channel, in seconds.
const PATIENCE_SECONDS = 30;
// The interval, in seconds, at which a description is sent again until the channel is open, because a
// restart of the service may have lost it. As long as the service remembers the message, it refuses
// the repetition.
const REPEAT_SECONDS = 10;
// The maximum number of offers that are answered at the same time. Further offers are dropped, because
// each one takes a connection.
const MAX_ANSWERING = 16;
// The maximum number of offers of one sender that are answered at the same time. A mailbox holds at
// most two messages of one sender, too.
const MAX_ANSWERING_SENDER = 2;
// After a channel has closed or an attempt has failed, `channels` waits for a random time. The
// first number is the upper bound of that time after a channel has closed, in seconds. The bound
// doubles with each failed attempt, up to the second number.
const FIRST_CEILING = 1;
const HIGHEST_CEILING = 30;

/**
 * The peer at the other end of a channel. It has proved that it holds the key `signed_by`.
 * @typedef {{peer_id: string, signed_by: string}} Remote
 */

/**
 * `onConnection` gets the channels that other peers have opened. `accepts` decides which peers may open
 * one; without it, all may. To accept only a certain peer, compare `signed_by` with its key.
 * Neither function is called if this peer is connecting to the other one at the same time:
 * `connect` then returns the channel. `iceServers` are used in addition to those that the service
 * names.
 * @typedef {object} ConnectionOptions
 * @property {(channel: RTCDataChannel, remote: Remote) => void} [onConnection]
 * @property {(remote: Remote) => boolean | Promise<boolean>} [accepts]
 * @property {RTCIceServer[]} [iceServers]
 * @property {"all" | "relay"} [iceTransportPolicy]
 */

/**
 * The peer that this client keeps registered. `iceServers` returns the STUN and TURN servers that
 * the service names.
 * @typedef {import("./mailbox.js").Local & {iceServers: () => RTCIceServer[]}} Local
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
  #local;
  #options;
  #mailbox;
  #closed = new AbortController();
  /** @type {Map<string, Attempt>} The offers of this peer whose channel is not open yet, by session. */
  #offers = new Map();
  /** @type {Set<Remote>} The senders of the offers that are being answered, once for each offer. */
  #answering = new Set();
  /** @type {WeakMap<RTCDataChannel, RTCPeerConnection>} The connection of each channel. */
  #connections = new WeakMap();

  /**
   * @param {import("./client.js").Client} client
   * @param {Local} local
   * @param {ConnectionOptions} options
   */
  constructor(client, local, options) {
    this.#local = local;
    this.#options = options;
    this.#mailbox = new Mailbox(client, local, {
      onMessage: (message) => this.#take(message),
      isExpecting: () => this.#offers.size > 0,
    });
    local.ended.then(() => this.close());
  }

  /**
   * Opens a channel to `peer`, an entry of the full view of `Client.discover`. When the promise
   * resolves, the other peer has proved that it holds the key that has signed `peer.signed`.
   *
   * Rejects with a DiscoveryError if the record in `peer.signed` cannot be verified (the kind is
   * `invalid_record`), or if the offer cannot be sent. The service refuses it with the code
   * `peer_not_registered` if the peer is not live, and `no_mailbox` if it has no mailbox. Rejects
   * with a TypeError if the record is that of another peer. Rejects with a DOMException of the name
   * `TimeoutError` if there is no open channel after 30 s, and with the reason of `signal` when it
   * is aborted.
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
    const sid = SignedMessage.newSession();
    const limit = anySignal(signal, this.#closed.signal, AbortSignal.timeout(PATIENCE_SECONDS * 1_000));
    /** @type {Promise<RTCDataChannel>} */
    const opened = new Promise((resolve, reject) => {
      this.#offers.set(sid, { remote, connection, opened: resolve });
      this.#open(channel, connection, limit).then(resolve, reject);
    });
    try {
      // If the other peer has sent an offer too, that offer may open the channel first. This offer
      // is then not needed.
      await Promise.race([this.#send("offer", sid, peer_id, connection, opened, limit), opened]);
      return await opened;
    } catch (error) {
      connection.close();
      throw error;
    } finally {
      this.#offers.delete(sid);
    }
  }

  /**
   * Yields an open channel to a peer. Each time that channel has closed, yields a new one. An
   * attempt is repeated, after a random wait of at most 30 s, if it fails with a transient error,
   * times out, or the peer is not live. Throws any other error, and the reason of `signal` when it
   * is aborted.
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

  /** Stops receiving offers, and ends the attempts to open a channel. Open channels stay open. */
  close() {
    this.#closed.abort();
    this.#mailbox.close();
  }

  /**
   * Handles an offer or an answer.
   * @param {SignedMessage} message
   */
  async #take({ from, signed_by, sid, type, sdp }) {
    const remote = { peer_id: from, signed_by };
    if (type === "answer") {
      const offer = this.#offers.get(sid);
      // The answer is signed, and it contains the fingerprint of the certificate with which its
      // sender will connect. Only the holder of the key can therefore answer. Not even the service
      // can do so in its place.
      if (offer && isSame(offer.remote, remote)) {
        await offer.connection.setRemoteDescription({ type, sdp });
      }
    } else if (type === "offer" && this.#mayAnswer(from)) {
      this.#answering.add(remote);
      await this.#answer(remote, sid, sdp).finally(() => this.#answering.delete(remote));
    }
  }

  /**
   * Whether another offer of this sender can be answered now. The limit per sender keeps one sender
   * from using up the limit of all.
   * @param {string} sender
   */
  #mayAnswer(sender) {
    const ofSender = [...this.#answering].filter(({ peer_id }) => peer_id === sender);
    return this.#answering.size < MAX_ANSWERING && ofSender.length < MAX_ANSWERING_SENDER;
  }

  /**
   * Answers an offer, unless `accepts` rejects its sender. If both peers are sending each other an
   * offer, `accepts` is not called, and only the peer with the smaller id answers: it uses the
   * other peer's offer and gives up its own.
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
      channel.catch(() => undefined); // prevents an unhandled rejection if a step below fails first
      await connection.setRemoteDescription({ type: "offer", sdp });
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
   * Makes the local description of a connection. Sends it once it has its ICE candidates, and then
   * again at intervals, until `opened` (the promise of the open channel) is settled.
   * @param {"offer" | "answer"} type
   * @param {string} sid
   * @param {string} to
   * @param {RTCPeerConnection} connection
   * @param {Promise<unknown>} opened
   * @param {AbortSignal} signal
   */
  async #send(type, sid, to, connection, opened, signal) {
    let isSettled = false;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let repeat;
    const end = () => {
      isSettled = true;
      clearInterval(repeat);
    };
    opened.then(end, end);
    await connection.setLocalDescription();
    await hasGathered(connection);
    if (isSettled) {
      return;
    }
    const sdp = connection.localDescription?.sdp ?? "";
    const send = () => this.#mailbox.send(to, { sid, type, sdp }, { signal });
    await send();
    if (!isSettled) {
      repeat = setInterval(() => send().catch(() => undefined), REPEAT_SECONDS * 1_000);
    }
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
}

/**
 * @param {Remote} one
 * @param {Remote} other
 */
function isSame(one, other) {
  return one.peer_id === other.peer_id && one.signed_by === other.signed_by;
}

/**
 * Waits until the description of a connection has all ICE candidates, but at most `GATHERING_SECONDS`.
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
