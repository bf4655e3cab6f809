// A strategy for trystero. A strategy is a way in which the peers of a room find each other and
// exchange the messages that set up a WebRTC connection. With this strategy, they find each other
// on an Aurora Discovery service, and exchange the messages through their mailboxes on it.
//
// For each room that it joins, this client registers a peer with the room's archetype. The id of
// that peer consists of the client's trystero id and the room. The id is locked to the key that
// first registered it, so no other key can use that trystero id in the room.

import { createStrategy, selfId } from "@trystero-p2p/core";

import { Client } from "./client.js";
import { DiscoveryError } from "./errors.js";
import { SecretKey } from "./secret-key.js";
import { SignedMessage } from "./signed-message.js";
import { SignedRecord } from "./signed-record.js";
import { seconds } from "./time.js";

export { selfId };

const MESSAGE_TYPE = "trystero";
// The maximum number of peers that one search for others returns.
const PAGE = 100;
// The interval at which this peer looks for others, in seconds. It can be long, because peers that
// join later find this one.
const SEARCH_SECONDS = 60;
// The minimum interval between two searches, in seconds. Each announcement of a peer starts a search, and
// trystero announces a peer several times at first.
const SHORTEST_SEARCH_SECONDS = 5;
// How long this peer expects an answer after it has sent a message, in seconds. The service keeps a
// message for as long.
const EXPECTING_SECONDS = 60;

/**
 * `urls` are those of one service. The peer signs with `key`, by default a new one. `clientOptions` has,
 * for example, the header with an API key.
 * @typedef {object} AuroraRelayConfig
 * @property {string[]} urls
 * @property {SecretKey} [key]
 * @property {import("./transport.js").ClientOptions} [clientOptions]
 */

/**
 * @typedef {import("@trystero-p2p/core").BaseRoomConfig & {relayConfig: AuroraRelayConfig & import("@trystero-p2p/core").BaseRelayConfig}} AuroraRoomConfig
 */

/**
 * The configuration that is passed to trystero. It includes the STUN and TURN servers that the
 * service has named.
 * @typedef {AuroraRoomConfig & {iceServers: import("@trystero-p2p/core").TurnServerConfig[]}} Config
 */

/** @typedef {{client: Client, key: SecretKey, rooms: Map<string, Presence>}} Relay */

/** @type {Map<string, string>} The keys of the peers, by their trystero ids. */
const keys = new Map();
/** @type {Promise<SecretKey> | undefined} The key of this peer, if its configuration has none. */
let ownKey;
/**
 * @type {Map<string, Promise<void>>} For the topic of each room that this client has joined: a
 *   promise that resolves when the client has left the room.
 */
const departures = new Map();

/** @type {import("@trystero-p2p/core").JoinRoom<Config>} */
const join = createStrategy({
  init: async ({ relayConfig: { urls, key, clientOptions } }) => ({
    client: new Client(urls, clientOptions),
    key: key ?? (await (ownKey ??= SecretKey.generate())),
    rooms: new Map(),
  }),
  subscribe: async (/** @type {Relay} */ relay, rootTopic, selfTopic, onMessage, _getOffers, context) => {
    const { config } = /** @type {{config: Config}} */ (context);
    // If this client has been in the room before, its earlier presence must be deregistered first.
    // Both have the same id, so a later deregistration would remove the new presence.
    const previous = departures.get(rootTopic);
    /** @type {() => void} */
    let hasLeft;
    departures.set(rootTopic, new Promise((resolve) => (hasLeft = resolve)));
    await previous;
    const presence = new Presence(relay, rootTopic, config, (message, reply) => onMessage(selfTopic, message, reply));
    relay.rooms.set(rootTopic, presence);
    return () => {
      relay.rooms.delete(rootTopic);
      presence.leave().then(hasLeft);
    };
  },
  announce: async ({ rooms }, rootTopic) => {
    await rooms.get(rootTopic)?.search();
    return { nextAnnounceMs: SEARCH_SECONDS * 1_000, reannounceOnDisconnect: true };
  },
});

/**
 * Joins a room, as the function of the same name of every trystero strategy does.
 * @param {AuroraRoomConfig} config `relayConfig.urls` has the URL of the service
 * @param {string} roomId
 * @param {import("@trystero-p2p/core").JoinRoomCallbacks} [callbacks]
 * @throws {Error} if the configuration is incomplete, or one of the URLs is not an HTTP URL
 */
export function joinRoom(config, roomId, callbacks) {
  const urls = config?.relayConfig?.urls ?? [];
  if (urls.length === 0) {
    throw new TypeError("relayConfig.urls has to name the Aurora Discovery service");
  }
  new Client(urls); // throws if one is not an HTTP URL
  /** @type {Config["iceServers"]} */
  const iceServers = [];
  // A mailbox holds few messages, so trickle ICE is off, and all candidates are sent in one
  // message. Trystero reads `turnConfig` for each connection, so servers that the service names
  // later are used too.
  const own = {
    ...config,
    iceServers,
    trickleIce: false,
    get turnConfig() {
      return [...(config.turnConfig ?? []), ...iceServers];
    },
  };
  return join(own, roomId, callbacks);
}

/**
 * The public key of a peer, a `did:key`. Messages of the peer, including those with the fingerprint
 * of its certificate, are accepted only if this key has signed them. `undefined` if this client has
 * neither found the peer nor received a message from it.
 * @param {string} peerId
 */
export function keyOf(peerId) {
  return keys.get(peerId);
}

/** This peer in one room. */
class Presence {
  #client;
  #topic;
  #archetypes;
  #peerId;
  #onMessage;
  /** @type {import("./keeper.js").LeaseKeeper} */
  #keeper;
  #mailbox;
  /** @type {Promise<void>} Resolves when others can find this peer. */
  #registered;
  #searchedAt = -Infinity;
  #sentAt = -Infinity;
  #warns;

  /**
   * @param {Relay} relay
   * @param {string} topic
   * @param {Config} config
   * @param {(message: Record<string, unknown>, reply: (topic: string, signal: string) => Promise<void>) => void} onMessage
   */
  constructor({ client, key }, topic, { relayConfig, iceServers }, onMessage) {
    this.#client = client;
    this.#topic = topic;
    this.#archetypes = [`trystero:${topic}`];
    this.#peerId = `${selfId}@${topic}`;
    this.#onMessage = onMessage;
    this.#warns = relayConfig.warnOnRelayFailure !== false;
    const registration = { peer_id: this.#peerId, archetypes: this.#archetypes, mail: true };
    /** @type {() => void} */
    let resolve;
    this.#registered = new Promise((registered) => (resolve = registered));
    this.#keeper = client.keep(registration, {
      key,
      onEvent: (event) => {
        if (event.type === "registered" || event.type === "renewed") {
          // The credentials of a TURN server expire, so each response replaces them. A heartbeat
          // response without servers changes nothing.
          const renewed = event.type === "renewed" ? iceServers : [];
          iceServers.splice(0, Infinity, ...(event.response.ice_servers ?? renewed));
          resolve();
        } else if (event.type === "failed") {
          this.#warn(event.error);
        }
      },
    });
    this.#keeper.ended().catch((error) => this.#warn(error));
    this.#mailbox = this.#keeper.mailbox({
      onMessage: (message) => this.#take(message),
      isExpecting: () => seconds() - this.#sentAt < EXPECTING_SECONDS,
    });
  }

  /**
   * Finds up to `PAGE` other peers of the room, and passes them to trystero. The search waits until
   * this peer is registered. So unless the room has more peers than that, at least the one of two
   * peers that registers later finds the other one.
   */
  async search() {
    await this.#registered;
    if (seconds() - this.#searchedAt < SHORTEST_SEARCH_SECONDS) {
      return;
    }
    this.#searchedAt = seconds();
    const request = { archetypes: this.#archetypes, exclude: this.#peerId, limit: PAGE };
    const { peers } = await this.#client.discover({ ...request, view: "full" });
    for (const { peer_id, signed = "" } of peers) {
      const record = await SignedRecord.verify(signed).catch(() => undefined);
      if (record?.mail && record.peer_id === peer_id) {
        this.#pass(peer_id, record.signed_by, {});
      }
    }
  }

  /** Deregisters the peer. Ignores a failure, because the lease then ends by itself. */
  async leave() {
    this.#mailbox.close();
    await this.#keeper.stop().catch(() => undefined);
  }

  /** @param {SignedMessage} message */
  #take({ from, signed_by, type, sdp }) {
    if (type === MESSAGE_TYPE) {
      this.#pass(from, signed_by, JSON.parse(sdp));
    }
  }

  /**
   * Passes a message of a peer of this room to trystero, unless the peer had another key before.
   * @param {string} from
   * @param {string} key
   * @param {Record<string, unknown>} message
   */
  #pass(from, key, message) {
    const [peerId] = from.split("@");
    // The whole id is compared, because any key could register an id with a further part, such as
    // `id@room@x`.
    if (from !== `${peerId}@${this.#topic}` || (keys.get(peerId) ?? key) !== key) {
      return;
    }
    keys.set(peerId, key);
    // Trystero expects an object of its own in `peer`, so a value that the sender put there is
    // removed.
    this.#onMessage({ ...message, peerId, peer: undefined }, (_topic, signal) => this.#reply(from, signal));
  }

  /**
   * @param {string} to
   * @param {string} signal
   */
  async #reply(to, signal) {
    this.#sentAt = seconds();
    try {
      await this.#mailbox.send(to, { sid: SignedMessage.newSession(), type: MESSAGE_TYPE, sdp: signal });
    } catch (error) {
      // It is normal that a peer has left by the time that this one replies.
      if (!(error instanceof DiscoveryError) || error.code !== "peer_not_registered") {
        this.#warn(error);
      }
    }
  }

  /** @param {unknown} error */
  #warn(error) {
    if (this.#warns) {
      console.warn(`Aurora Discovery: ${error instanceof Error ? error.message : error}`);
    }
  }
}
