// The lease keeper: registers a peer, renews its lease, and recovers from failures.

import { Connections } from "./connections.js";
import { DiscoveryError } from "./errors.js";
import { Lease, ObservedAddress, FailureBackoff } from "./lease.js";
import { Mailbox } from "./mailbox.js";
import { Signer } from "./signer.js";
import { seconds, sleep } from "./time.js";

// If the service refuses a registration with one of these statuses, the keeper stops, because a
// retry would be refused too. 403 is not one of them: the service sends it while another client
// holds the id, and the lease of that client may end.
const FINAL_STATUSES = [400, 401, 404, 405, 413, 501];

/**
 * @typedef {import("./types.js").KeeperEvent} KeeperEvent
 */

/**
 * The options of a lease keeper.
 *
 * If `onEvent` throws, the keeper stops. With a `tokenStore`, a restarted peer is still the holder,
 * from any address. Once `secured` is reported, no client without the token can change the
 * registration. With `replace: false`, the keeper does not replace a live registration from the
 * same address, such as that of a second copy of the program, but waits until its lease ends. If
 * the keeper has a `key`, `replace` has no effect: the keeper replaces a registration whose name is
 * locked to that key.
 *
 * A `key` signs the registration, which locks the name (the id of the peer) to the key: from then
 * on, no client without the key can register the name, and a restarted peer needs no token. If
 * `key` is a new key of the peer, `replacesKey` is its old key, to which the name is still locked.
 * With `audience`, only the service of that name accepts the registration.
 * @typedef {object} KeeperOptions
 * @property {(event: KeeperEvent) => void} [onEvent]
 * @property {import("./types.js").TokenStore} [tokenStore]
 * @property {boolean} [replace]
 * @property {import("./secret-key.js").SecretKey} [key]
 * @property {import("./secret-key.js").SecretKey} [replacesKey]
 * @property {string} [audience]
 */

/**
 * What the keeper knows about the peer's registration: the peer is not registered, the result of
 * the last registration is unknown, another client holds the id (or another key has locked it), or
 * the peer is registered.
 * @typedef {"absent" | "unresolved" | "held_by_another" | "held"} State
 */

/**
 * Keeps one peer registered. It registers the peer, sends heartbeats at the interval that the service
 * requests, registers the peer again if the service no longer knows it or its address has changed, and
 * retries transient failures without limit. `Client.keep` creates it.
 *
 * `stop` deregisters the peer. If the program ends without calling it, for example in a crash, the
 * lease ends by itself.
 */
export class LeaseKeeper {
  #client;
  /**
   * The registration, with the current token. While the peer is registered, `token_only` has the value
   * that the service accepted last.
   */
  #registration;
  #onEvent;
  #tokenStore;
  #mayReplace;
  #signing;
  /** @type {Signer | undefined} Signs the registrations; `undefined` if they are not signed. */
  #signer;
  /** @type {string | undefined} */
  #savedToken;
  /** @type {State} */
  #state = "absent";
  /** @type {Lease | undefined} */
  #lease;
  /** @type {RTCIceServer[]} The STUN and TURN servers that the service named last. */
  #iceServers = [];
  /** @type {FailureBackoff | undefined} */
  #backoff;
  #observedAddress = new ObservedAddress();
  /** Whether another client has taken over the id since the last registration. */
  #wasTakenOver = false;
  /**
   * Whether, after the last successful step, the registration was token-only and its token stored.
   * `secured` is reported when this becomes true.
   */
  #isSecured = false;
  /**
   * Whether the last update failed. The next update then waits until a heartbeat has succeeded: if
   * the service refuses updates, the keeper must still renew the lease.
   */
  #updateFailed = false;
  #stop = new AbortController();
  /** @type {Promise<void>} */
  #kept;
  /** @type {Promise<void> | undefined} */
  #released;
  /** @type {{error: unknown} | undefined} */
  #failure;

  /**
   * @param {import("./client.js").Client} client
   * @param {import("./types.js").RegisterRequest} registration
   * @param {KeeperOptions} options
   */
  constructor(client, registration, { onEvent, tokenStore, replace = true, key, replacesKey, audience }) {
    this.#client = client;
    this.#registration = { ...registration };
    this.#onEvent = onEvent;
    this.#tokenStore = tokenStore;
    this.#mayReplace = replace;
    this.#signing = { key, replaces: replacesKey, audience };
    this.#kept = this.#keep();
  }

  /**
   * Waits until the keeper stops. Rejects with the error that stopped it: the permanent refusal of
   * the registration, a failure to load the token, an error that the event handler has thrown, or a
   * mistake in the registration, such as an unknown key.
   */
  async ended() {
    await this.#kept;
    if (this.#failure) {
      throw this.#failure.error;
    }
  }

  /**
   * Deregisters the peer and stops. A peer that another client has taken over is not deregistered.
   * Rejects as `ended` does, or if the peer could not be deregistered.
   */
  async stop() {
    this.#stop.abort();
    await this.#kept;
    this.#released ??= this.#release().catch((error) => {
      // If the keeper has failed before, `stop` throws that first error.
      this.#failure ??= { error };
    });
    await this.#released;
    await this.ended();
  }

  /**
   * Returns an object that opens WebRTC channels to other peers, and accepts channels from them
   * until the keeper stops. Two peers can connect in this way even if both cannot accept
   * connections, for example because they are browsers. The keeper must have a key, and
   * `mail: true` in its registration. Needs a platform with WebRTC, such as a browser.
   * @param {import("./connections.js").ConnectionOptions} [options]
   * @throws {TypeError} without a key or a mailbox
   */
  connections(options = {}) {
    return new Connections(this.#client, { ...this.#local(), iceServers: () => this.#iceServers }, options);
  }

  /**
   * Opens the mailbox of the peer, which sends messages to other peers, and receives theirs until
   * the keeper stops. Use it in a program that establishes its connections itself. Do not use it
   * together with `connections`: each would take messages that the other one waits for. The keeper
   * must have a key, and `mail: true` in its registration.
   * @param {import("./mailbox.js").MailboxOptions} options
   * @throws {TypeError} without a key or a mailbox
   */
  mailbox(options) {
    return new Mailbox(this.#client, this.#local(), options);
  }

  /** @returns {import("./mailbox.js").Local} */
  #local() {
    const { peer_id, mail } = this.#registration;
    const { key } = this.#signing;
    if (!key || !mail) {
      throw new TypeError("a mailbox needs a keeper with a key, and mail: true in its registration");
    }
    const token = () => (this.#state === "held" ? this.#registration.lease_token : undefined);
    const now = () => this.#signer?.now() ?? Date.now();
    return { peer_id, key, token, now, ended: this.#kept };
  }

  /** Runs steps until one throws, for example because of a permanent refusal, or until `stop` is called. */
  async #keep() {
    const { signal } = this.#stop;
    try {
      this.#savedToken = await this.#tokenStore?.load();
      this.#registration.lease_token = this.#savedToken ?? this.#registration.lease_token;
      const { key, replaces, audience } = this.#signing;
      this.#signer = key && new Signer(key, { replaces, audience, token: this.#savedToken });
      for (;;) {
        await sleep(await this.#step(signal), signal);
      }
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) {
        this.#failure = { error };
      }
    }
  }

  /** Deregisters the peer, if this keeper holds it. */
  async #release() {
    const { peer_id, lease_token } = this.#registration;
    if (this.#state === "held_by_another") {
      return;
    }
    if (this.#state === "unresolved" && !this.#mayReplace && lease_token === undefined) {
      // Without the token, the request could remove the registration of another client at the same
      // address. If this keeper has registered the peer, the lease ends by itself.
      return;
    }
    if (this.#state !== "absent") {
      try {
        if (lease_token !== undefined) {
          // The service treats a deregistration with an old token like one without a token, and
          // accepts it from the holder's address. It always refuses a heartbeat with an old token,
          // so the heartbeat shows whether another client holds the id.
          await this.#client.heartbeat({ peer_id, lease_token });
        }
        await this.#client.deregister({ peer_id, lease_token });
      } catch (error) {
        if (!(error instanceof DiscoveryError)) {
          throw error;
        }
        if (error.code === "not_holder") {
          this.#state = "held_by_another";
          this.#notify({ type: "taken_over", reason: error.message });
          return;
        }
        if (error.code !== "peer_not_registered") {
          throw error;
        }
      }
    }
    this.#state = "absent";
    this.#notify({ type: "deregistered" });
  }

  /**
   * Calls the event handler. If the handler throws, it is not called again, and the error ends the keeper.
   * @param {KeeperEvent} event
   */
  #notify(event) {
    const handler = this.#onEvent;
    this.#onEvent = undefined;
    handler?.(event);
    this.#onEvent = handler;
  }

  /**
   * Registers the peer, updates its registration, or renews its lease. Returns the seconds until the
   * next step.
   * @param {AbortSignal} signal
   */
  async #step(signal) {
    const sentAt = seconds();
    let event;
    try {
      if (this.#state !== "held") {
        event = await this.#register(sentAt, signal);
      } else if (this.#needsUpdate()) {
        event = await this.#update(sentAt, signal);
      } else {
        event = await this.#renew(sentAt, signal);
      }
    } catch (error) {
      if (error instanceof DiscoveryError) {
        return this.#failed(error);
      }
      throw error;
    }
    return this.#succeeded(event);
  }

  /**
   * @param {number} sentAt
   * @param {AbortSignal} signal
   * @returns {Promise<KeeperEvent>}
   */
  async #register(sentAt, signal) {
    this.#registration.token_only = await this.#mustYield(signal);
    this.#isSecured = false;
    this.#state = "unresolved";
    const options = { signer: this.#signer, signal };
    const response = await this.#client.register(this.#registration, options).catch((error) => {
      if (error instanceof DiscoveryError && !error.isTransient) {
        this.#state = "absent";
      }
      throw error;
    });
    this.#wasTakenOver = false;
    this.#registration.lease_token = response.lease_token;
    this.#observedAddress.registered(response.observed_address);
    this.#lease = new Lease(sentAt, response);
    this.#iceServers = response.ice_servers ?? [];
    return { type: "registered", response };
  }

  /**
   * Whether the registration has to be token-only, so that it does not replace that of another
   * client. Otherwise, it is not token-only at first, because the service reserves the id of a
   * token-only peer for some time after the end of its lease. If the peer crashed before its token
   * is stored, no client could register the id during that time, not even this one.
   * @param {AbortSignal} signal
   */
  async #mustYield(signal) {
    if (!this.#signer) {
      return (!this.#mayReplace || this.#wasTakenOver) && (await this.#isKnown(signal));
    }
    if (this.#wasTakenOver) {
      // A signed registration replaces even that of another client with the same key, such as a
      // copy of this program. After a takeover, the keeper therefore registers only if the id is
      // free.
      await this.#checkIsFree(signal);
    }
    return false;
  }

  /**
   * Sends a heartbeat to find out whether another client holds the id. Rejects with the refusal if
   * so, and if the heartbeat fails for another reason, with that error.
   * @param {AbortSignal} signal
   */
  async #checkIsFree(signal) {
    const { peer_id, lease_token } = this.#registration;
    await this.#client.heartbeat({ peer_id, lease_token }, { signal }).catch((error) => {
      if (!(error instanceof DiscoveryError) || error.code !== "peer_not_registered") {
        throw error;
      }
    });
  }

  /**
   * Whether the service knows the id, and this client does not have its current token.
   *
   * To find that out, this method sends a heartbeat, which changes nothing if its token is wrong.
   * The response is 404 for an unknown id and 403 for a known one. The keeper registers a known id
   * token-only, which replaces a dormant peer, but not one that its holder keeps live. It does not
   * register an unknown id token-only: if the response were lost, the id would be reserved under a
   * token that no client knows.
   * @param {AbortSignal} signal
   */
  async #isKnown(signal) {
    const { peer_id, lease_token } = this.#registration;
    try {
      await this.#client.heartbeat({ peer_id, lease_token: lease_token ?? `none-${Math.random()}` }, { signal });
    } catch (error) {
      const code = error instanceof DiscoveryError ? error.code : undefined;
      if (code === "not_holder" || code === "peer_not_registered") {
        return code === "not_holder";
      }
      throw error;
    }
    return lease_token === undefined;
  }

  /**
   * Whether the registration has to be updated. It should be token-only exactly if it is unsigned
   * and the token is stored. If it leaves its address out, it should list the address at which the
   * service sees the peer. After a failed update, false until a heartbeat has succeeded.
   */
  #needsUpdate() {
    // A signed registration is not made token-only, because the signature protects the name
    // already.
    const differs = !this.#signer && this.#registration.token_only !== this.#isSaved();
    const hasMoved = this.#lease !== undefined && this.#observedAddress.hasMoved(this.#lease.ttl);
    return !this.#updateFailed && (differs || hasMoved);
  }

  /**
   * Registers the peer again, with its token, to change its registration.
   * @param {number} sentAt
   * @param {AbortSignal} signal
   * @returns {Promise<KeeperEvent | undefined>}
   */
  async #update(sentAt, signal) {
    this.#updateFailed = true;
    this.#observedAddress.tried();
    const request = { ...this.#registration, token_only: this.#isSaved(), discover: undefined };
    const response = await this.#client.register(request, { signer: this.#signer, signal });
    this.#updateFailed = false;
    this.#registration.token_only = request.token_only;
    this.#registration.lease_token = response.lease_token;
    this.#lease = new Lease(sentAt, response);
    const moved = this.#observedAddress.registered(response.observed_address);
    return moved && { type: "moved", ...moved };
  }

  /**
   * @param {number} sentAt
   * @param {AbortSignal} signal
   * @returns {Promise<KeeperEvent>}
   */
  async #renew(sentAt, signal) {
    const { peer_id, lease_token, mail, discover, address } = this.#registration;
    const response = await this.#client.heartbeat({ peer_id, lease_token, mail, discover }, { signal });
    if (address === undefined) {
      this.#observedAddress.heartbeat(response.observed_address);
    }
    this.#lease = new Lease(sentAt, response);
    // The credentials of a TURN server expire, so each response that has servers replaces the list.
    this.#iceServers = response.ice_servers ?? this.#iceServers;
    return { type: "renewed", response };
  }

  /** @param {KeeperEvent} [event] */
  async #succeeded(event) {
    this.#state = "held";
    const unsaved = await this.#saveToken();
    if (event) {
      this.#notify(event);
    }
    if (this.#backoff) {
      const afterSeconds = this.#backoff.duration();
      this.#backoff = undefined;
      this.#notify({ type: "recovered", afterSeconds });
    }
    if (unsaved) {
      this.#notify({ type: "unsecured", error: unsaved.error });
    }
    this.#reportSecured();
    if (this.#needsUpdate()) {
      return 0;
    }
    this.#updateFailed = false;
    return this.#lease?.pause() ?? 0;
  }

  async #saveToken() {
    const { lease_token } = this.#registration;
    if (this.#tokenStore && lease_token !== undefined && lease_token !== this.#savedToken) {
      try {
        await this.#tokenStore.save(lease_token);
      } catch (error) {
        return { error };
      }
      this.#savedToken = lease_token;
    }
    return undefined;
  }

  /** Whether the current token is stored. */
  #isSaved() {
    return this.#savedToken !== undefined && this.#savedToken === this.#registration.lease_token;
  }

  #reportSecured() {
    const wasSecured = this.#isSecured;
    this.#isSecured = this.#registration.token_only === true && this.#isSaved();
    if (this.#isSecured && !wasSecured) {
      this.#notify({ type: "secured" });
    }
  }

  /** @param {DiscoveryError} error */
  #failed(error) {
    const isHeld = this.#state === "held";
    if (error.code === "peer_not_registered" && isHeld) {
      this.#state = "absent";
      this.#notify({ type: "forgotten" });
      return 0;
    }
    if (error.code === "not_holder" && isHeld) {
      this.#state = "held_by_another";
      this.#wasTakenOver = true;
      this.#notify({ type: "taken_over", reason: error.message });
      return 0;
    }
    if ((error.code === "not_holder" || error.code === "name_locked") && !isHeld) {
      this.#state = "held_by_another";
      this.#backoff ??= new FailureBackoff();
      const retryInSeconds = this.#backoff.afterNotHolder(error);
      this.#notify({ type: "refused", reason: error.message, retryInSeconds });
      return retryInSeconds;
    }
    if (!isHeld && error.kind === "refused" && FINAL_STATUSES.includes(error.status ?? 0)) {
      this.#notify({ type: "refused", reason: error.message });
      throw error;
    }
    return this.#retry(error, isHeld ? this.#lease : undefined);
  }

  /**
   * @param {DiscoveryError} error
   * @param {Lease} [lease]
   */
  #retry(error, lease) {
    this.#backoff ??= new FailureBackoff();
    const retryInSeconds = this.#backoff.afterFailure(error, lease);
    const hasJustExpired = this.#backoff.reportsEndOf(lease);
    this.#notify({ type: "failed", error, retryInSeconds });
    if (hasJustExpired) {
      this.#notify({ type: "expired" });
    }
    return retryInSeconds;
  }
}
