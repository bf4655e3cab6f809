// The requests of the API.

import { DiscoveryError, protocol } from "./errors.js";
import { parseResponse } from "./json.js";
import { LeaseKeeper } from "./keeper.js";
import { deregisterBody, heartbeatBody, heartbeatsBody, mailBody, mailboxBody, parameters, registerBody } from "./requests.js";
import { MAX_SIGNED } from "./signer.js";
import { Transport } from "./transport.js";
import { Watch } from "./watch.js";

/**
 * `signal` aborts a call. The service may or may not have carried out an aborted call. It is safe
 * to repeat the call.
 * @typedef {{signal?: AbortSignal}} CallOptions
 */

/**
 * A client of one service.
 *
 * Requests, except that of `health`, are retried after transient failures (no connection, no
 * response in time, 429, 500, 502, 503, 504), with exponentially growing waits and jitter. Retries
 * are safe: if only the response to an attempt was lost, the next attempt has the same effect, or
 * the service refuses it. A request that fails rejects with a DiscoveryError. If the service
 * refused the request, the `code` of the error says why.
 */
export class Client {
  #transport;

  /**
   * Creates a client without connecting.
   * @param {string | string[]} endpoints the URL of the service, `http://host:port` or
   *   `https://host/stage`, or several URLs of the same service. The client starts at a random one, stays
   *   with one that works, and moves to the next one when a request fails. After 5 to 10 minutes,
   *   it returns to the one that it started at.
   * @param {import("./transport.js").ClientOptions} [options]
   * @throws {TypeError} if there is no endpoint, or if one is not an HTTP URL, or has a user name,
   *   a password, a query or a fragment
   */
  constructor(endpoints, options = {}) {
    this.#transport = new Transport(endpoints, options);
  }

  /** The URL that the next request goes to. */
  get endpoint() {
    return this.#transport.endpoint;
  }

  /**
   * Registers a peer, or replaces its registration. Either starts a new lease. Rejects with the
   * code `not_holder` while another client holds the id, and `name_locked` if the id is locked to a
   * key that has not signed the request.
   *
   * A `signer` signs the registration. It signs again if the local clock is wrong, or if the
   * service has a later record of the peer. If a live peer with this id was registered without a
   * signature, the request needs its `lease_token`, which proves that this client holds the id.
   * @param {import("./types.js").RegisterRequest} request
   * @param {{signer?: import("./signer.js").Signer} & CallOptions} [options]
   * @returns {Promise<import("./types.js").RegisterResponse>}
   */
  async register(request, { signer, signal } = {}) {
    if (!signer) {
      return this.#call("register", registerBody(request), { signal });
    }
    let nonce;
    for (let signed = 1; ; signed++) {
      const body = await signer.body(request, nonce);
      try {
        const response = await this.#call("register", body, { signal });
        signer.accepted();
        // The service does not return the token, because it knows only its hash.
        return { lease_token: signer.token, ...response };
      } catch (error) {
        if (!(error instanceof DiscoveryError) || signed === MAX_SIGNED || !signer.learnsFrom(error)) {
          throw error;
        }
        nonce = error.nonce;
      }
    }
  }

  /**
   * Renews a lease, or revives a dormant peer, that is, one whose lease has ended but which the
   * service still remembers. Rejects with the code `peer_not_registered` if the peer has to
   * register, and `not_holder` if the token is not the current one, or is missing for a token-only
   * peer.
   * @param {import("./types.js").HeartbeatRequest} request
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").HeartbeatResponse>}
   */
  async heartbeat(request, options) {
    return this.#call("heartbeat", heartbeatBody(request), options);
  }

  /**
   * Renews the leases of up to a hundred peers. If the service refuses to renew one of them, the
   * call still succeeds, and the result of that peer has the error.
   * @param {import("./types.js").HeartbeatsRequest} request
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").HeartbeatsResponse>}
   */
  async heartbeats(request, options) {
    return this.#call("heartbeat", heartbeatsBody(request), options);
  }

  /**
   * Deregisters a peer. Rejects with the code `not_holder` if another client holds the id, and
   * `peer_not_registered` if the service does not know the peer. The latter also happens if an
   * earlier attempt of the same call removed the peer and the response was lost.
   * @param {import("./types.js").DeregisterRequest} request
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").DeregisterResponse>}
   */
  async deregister(request, options) {
    return this.#call("deregister", deregisterBody(request), options);
  }

  /**
   * Leaves a message in the mailbox of another peer. `LeaseKeeper.connections` and
   * `LeaseKeeper.mailbox` do so for you. Rejects with the code `peer_not_registered` if the
   * receiver or the sender is not live, and `no_mailbox` if it has no mailbox. The `field` of the
   * error is `to` if the receiver is at fault.
   * @param {import("./types.js").MailRequest} request
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").MailResponse>}
   */
  async mail(request, options) {
    return this.#call("mail", mailBody(request), options);
  }

  /**
   * Fetches the messages in the mailbox of a peer. A message stays there until it is acknowledged,
   * but at most a minute.
   * @param {import("./types.js").MailboxRequest} request
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").MailboxResponse>}
   */
  async mailbox(request, options) {
    return this.#call("mailbox", mailboxBody(request), options, request.wait_seconds);
  }

  /**
   * Requests one page of live peers.
   * @param {import("./types.js").DiscoverRequest} [request]
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").DiscoverResponse>}
   */
  async discover(request = {}, options) {
    return this.#call(`discover?${new URLSearchParams(parameters(request))}`, undefined, options);
  }

  /**
   * Lists all live peers that match, page by page. A peer that is live during the whole enumeration is
   * listed exactly once. The order, the cursor and the fill of `request` are ignored.
   * @param {import("./types.js").DiscoverRequest} [request]
   * @param {CallOptions} [options]
   * @returns {AsyncGenerator<import("./types.js").Peer, void, undefined>}
   */
  async *enumerate(request = {}, options) {
    /** @type {string | undefined} */
    let cursor;
    do {
      /** @type {import("./types.js").DiscoverResponse} */
      const page = await this.discover({ ...request, order: "all", cursor, fill: undefined }, options);
      yield* page.peers;
      if (page.next_cursor !== undefined && page.next_cursor === cursor) {
        throw protocol(this.endpoint, 200, "the cursor of this page for the next, so the list would not end");
      }
      cursor = page.next_cursor;
    } while (cursor !== undefined);
  }

  /**
   * Watches the peers that match. The client connects when the caller requests the first event. The
   * watch reports the changes from then on, or those after the cursor `since`. Of `request`, only
   * `archetypes`, `exclude` and `view` apply.
   * @param {import("./types.js").DiscoverRequest} [request]
   * @param {{since?: string} & CallOptions} [options]
   */
  watch(request = {}, { since, signal } = {}) {
    const allowed = ["archetype", "exclude", "view"];
    const selected = parameters(request).filter(([key]) => allowed.includes(key));
    return new Watch(this.#transport, selected, since, signal);
  }

  /**
   * Requests statistics of the whole network.
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").Network>}
   */
  async network(options) {
    return this.#call("network", undefined, options);
  }

  /**
   * Requests the health of the service. If the service is unhealthy, the promise still resolves,
   * and the result has the reason. The request is not retried.
   * @param {CallOptions} [options]
   * @returns {Promise<import("./types.js").Health>}
   */
  async health({ signal } = {}) {
    return parsed(await this.#transport.exchange("health", signal));
  }

  /**
   * Starts to keep a peer registered.
   * @param {import("./types.js").RegisterRequest} registration
   * @param {import("./keeper.js").KeeperOptions} [options]
   */
  keep(registration, options = {}) {
    return new LeaseKeeper(this, registration, options);
  }

  /**
   * @param {string} path
   * @param {string} [body]
   * @param {CallOptions} [options]
   * @param {number} [waitSeconds]
   */
  async #call(path, body, { signal } = {}, waitSeconds) {
    return parsed(await this.#transport.send(path, body, signal, waitSeconds));
  }
}

/** @param {{endpoint: string, status: number, text: string}} response */
function parsed({ endpoint, status, text }) {
  try {
    return parseResponse(text);
  } catch (error) {
    throw protocol(endpoint, status, `a malformed body (${error})`);
  }
}
