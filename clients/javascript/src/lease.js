// What a lease keeper knows about its lease, its failures and its address.

import { fullJitter, seconds } from "./time.js";

// If the service requests a shorter interval between heartbeats than this, in seconds, this one
// applies. So no response can make a peer flood the service.
const SHORTEST_INTERVAL = 0.5;
// How much earlier than requested a heartbeat may be sent, as a ratio of the interval. The jitter
// spreads out peers that started together. It never makes a heartbeat late.
const INTERVAL_JITTER = 0.1;
// The upper bound of the random wait after the first failure, in seconds. It doubles with each
// further failure. Before the keeper counts a transient failure, the client has used up its own
// retries.
const FIRST_CEILING = 1;
// While there is no lease: the maximum of that upper bound, in seconds. Unless another client holds
// the id, also the longest `Retry-After` that is honored.
const HIGHEST_CEILING = 60;
// The longest `Retry-After`, in seconds, that is honored while another client holds the id. That
// client's lease may last longer, but it may also end earlier, because the client can deregister at
// any time.
const LONGEST_WAIT_FOR_HOLDER = 300;

/**
 * A lease. Its end is computed on the monotonic clock, from a time before the request was sent, so
 * that the service's lease does not end before this one.
 */
export class Lease {
  #ends;

  /**
   * @param {number} sentAt
   * @param {{ttl_seconds: number, heartbeat_interval_seconds: number}} response
   */
  constructor(sentAt, response) {
    this.ttl = response.ttl_seconds;
    this.interval = Math.max(response.heartbeat_interval_seconds, SHORTEST_INTERVAL);
    this.#ends = sentAt + this.ttl;
  }

  hasEnded() {
    return this.#ends <= seconds();
  }

  /**
   * The seconds until the next heartbeat. Jitter only shortens the interval, so that the lease
   * still outlasts as many lost heartbeats as the service has planned for.
   */
  pause() {
    return this.interval * (1 - INTERVAL_JITTER * Math.random());
  }
}

/** The failures since the last success. */
export class FailureBackoff {
  #since = seconds();
  #failures = 0;
  #isExpired = false;

  /** The time since the first failure, in seconds. */
  duration() {
    return seconds() - this.#since;
  }

  /**
   * Counts a failure. Returns the seconds until the next attempt.
   *
   * Retries are fast at first, so that a running lease may be saved. After the lease has ended,
   * they are about as frequent as heartbeats, because fast retries of all clients would overload a
   * service that comes back after a long outage.
   * @param {import("./errors.js").DiscoveryError} error
   * @param {Lease} [lease]
   */
  afterFailure(error, lease) {
    this.#failures += 1;
    const highest = lease?.interval ?? HIGHEST_CEILING;
    const pause = lease?.hasEnded()
      ? (highest * (1 + Math.random())) / 2
      : fullJitter(this.#failures, FIRST_CEILING, highest);
    return after(error, highest, pause);
  }

  /**
   * Counts a refusal because another client holds the id, or another key has locked it. Returns the
   * seconds until the next attempt.
   * @param {import("./errors.js").DiscoveryError} error
   */
  afterNotHolder(error) {
    this.#failures += 1;
    return after(error, LONGEST_WAIT_FOR_HOLDER, fullJitter(this.#failures, FIRST_CEILING, HIGHEST_CEILING));
  }

  /**
   * Whether the end of the lease has to be reported, which happens once in a series of failures.
   * @param {Lease} [lease]
   */
  reportsEndOf(lease) {
    const wasExpired = this.#isExpired;
    this.#isExpired ||= lease?.hasEnded() ?? false;
    return this.#isExpired && !wasExpired;
  }
}

/**
 * The address from which the service sees the peer's requests. A change counts as confirmed when
 * two consecutive heartbeats have come from the same new address.
 */
export class ObservedAddress {
  /** @type {string | undefined} */
  #registered;
  /** @type {string | undefined} */
  #candidate;
  #isConfirmed = false;
  #triedAt = -Infinity;

  /**
   * Records the address of a registration. Returns the previous one and the new one if they differ.
   * @param {string} observed
   */
  registered(observed) {
    const previous = this.#registered;
    this.#registered = canonical(observed);
    this.#candidate = undefined;
    this.#isConfirmed = false;
    const hasMoved = previous !== undefined && previous !== this.#registered;
    return hasMoved ? { oldAddress: previous, newAddress: this.#registered } : undefined;
  }

  /**
   * Records the address of a heartbeat. Older versions of the service do not report it.
   * @param {string} [observed]
   */
  heartbeat(observed) {
    const seen = observed === undefined ? undefined : canonical(observed);
    const listed = this.#registered;
    // A host with IPv4 and IPv6 may use either for a request. So a change of the address family
    // does not mean that the peer has moved.
    const isNew =
      seen !== undefined && listed !== undefined && seen !== listed && seen.includes(":") === listed.includes(":");
    this.#isConfirmed = isNew && seen === this.#candidate;
    this.#candidate = isNew ? seen : undefined;
  }

  /**
   * Whether the peer has to register its new address. The keeper tries at most once in `lease`
   * seconds, so that a client that alternates between two addresses does not register all the time.
   * @param {number} lease
   */
  hasMoved(lease) {
    return this.#isConfirmed && seconds() - this.#triedAt >= lease;
  }

  /** Records an attempt to register the new address, if there is one. */
  tried() {
    if (this.#isConfirmed) {
      this.#triedAt = seconds();
    }
  }
}

/**
 * The seconds of `Retry-After`, at most `longest`, plus `pause`, which spreads out clients that received
 * the same value.
 * @param {import("./errors.js").DiscoveryError} error
 * @param {number} longest
 * @param {number} pause
 */
function after(error, longest, pause) {
  return Math.min(error.retryAfterSeconds ?? 0, longest) + pause;
}

/**
 * Returns the address. An IPv4-mapped IPv6 address, such as `::ffff:192.0.2.1`, becomes the IPv4
 * address.
 * @param {string} address
 */
function canonical(address) {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}
