// Requests over HTTP: chooses an endpoint, retries where that is useful, and reads responses.

import { Endpoints } from "./endpoints.js";
import { DiscoveryError, protocol, refusal, timedOut, unreachable } from "./errors.js";
import { fullJitter, seconds, sleep } from "./time.js";

// A longer response is an error. A page of the API has at most 1 MiB of peers.
const MAX_RESPONSE_BYTES = 8 * 1024 * 1024;
// The upper bound of the random part of the wait before the first retry, in seconds. It doubles
// with each further retry.
const FIRST_CEILING = 0.2;
// The maximum of that upper bound. Longer waits would delay callers without relieving the service
// further.
const HIGHEST_CEILING = 10;

/**
 * The options of a client.
 * @typedef {object} ClientOptions
 * @property {number} [timeoutSeconds] The time limit of one attempt (10).
 * @property {number} [retries] The maximum number of retries after transient failures (3).
 * @property {number} [patienceSeconds] The time after which a request is not attempted again (30).
 * @property {Record<string, string>} [headers] Headers to send with every request.
 * @property {typeof fetch} [fetch] Used instead of the global `fetch`.
 */

/** Sends requests to a service. */
export class Transport {
  #endpoints;
  #options;

  /**
   * @param {string | string[]} endpoints
   * @param {ClientOptions} options
   */
  constructor(endpoints, options) {
    this.#endpoints = new Endpoints(endpoints);
    this.#options = { timeoutSeconds: 10, retries: 3, patienceSeconds: 30, headers: {}, ...options };
  }

  /** The URL that the next request goes to. */
  get endpoint() {
    return this.#endpoints.current;
  }

  /**
   * Handles the failure of a request to `endpoint`. Moves to the next endpoint if the request may
   * succeed there. Returns whether that is so.
   * @param {string} endpoint
   * @param {DiscoveryError} error
   */
  failed(endpoint, error) {
    // A client that is over a rate limit (429) must wait. At another endpoint, it would only evade
    // the limit.
    const isLocal = error.isTransient && error.status !== 429;
    if (isLocal) {
      this.#endpoints.leave(endpoint);
    }
    return isLocal;
  }

  /**
   * Sends a request until it succeeds, fails permanently, or uses up its retries or its time. A
   * round has one attempt at each endpoint, without waits in between. The client waits, and counts
   * a retry, only after a whole round has failed. An error that another endpoint would return as
   * well ends the round early.
   * @param {string} path with its query
   * @param {string} [body]
   * @param {AbortSignal} [signal]
   * @param {number} [waitSeconds] how long the service may delay its response, in addition to the
   *   time limit
   * @returns {Promise<{endpoint: string, status: number, text: string}>}
   */
  async send(path, body, signal, waitSeconds = 0) {
    const { retries, patienceSeconds } = this.#options;
    const started = seconds();
    let rounds = 0;
    let failed = 0;
    for (;;) {
      const endpoint = this.endpoint;
      const response = await this.#attempt(endpoint, path, body, signal, waitSeconds);
      if (!(response instanceof DiscoveryError)) {
        return response;
      }
      failed += 1;
      const elapsed = seconds() - started;
      const mayMove = this.failed(endpoint, response) && failed < this.#endpoints.length;
      if (mayMove && elapsed < patienceSeconds) {
        continue;
      }
      failed = 0;
      rounds += 1;
      // All refused clients may have received the same `Retry-After`. The jitter spreads out their retries.
      const wait = (response.retryAfterSeconds ?? 0) + fullJitter(rounds, FIRST_CEILING, HIGHEST_CEILING);
      if (rounds > retries || !response.isTransient || elapsed + wait >= patienceSeconds) {
        throw response;
      }
      await sleep(wait, signal);
    }
  }

  /**
   * Sends a GET request without retries. A response with any status is a success. After a failure
   * that may affect only this endpoint, the next request goes to another one.
   * @param {string} path
   * @param {AbortSignal} [signal]
   */
  async exchange(path, signal) {
    const { endpoint } = this;
    try {
      return await this.#within(endpoint, signal, async (limited) => {
        const response = await this.#fetch(endpoint, path, undefined, limited);
        return { endpoint, status: response.status, text: await readText(endpoint, response) };
      });
    } catch (error) {
      if (error instanceof DiscoveryError) {
        this.failed(endpoint, error);
      }
      throw error;
    }
  }

  /**
   * Opens a stream, without retries. The time limit applies until the response begins. After a
   * failure that may affect only this endpoint, the next request goes to another one.
   * @param {string} path with its query
   * @param {AbortSignal} signal closes the stream
   */
  async open(path, signal) {
    const { endpoint } = this;
    try {
      const response = await this.#within(endpoint, signal, async (limited, keepOpen) => {
        const opened = await this.#fetch(endpoint, path, undefined, limited);
        if (!opened.ok) {
          throw refusal(endpoint, opened.status, opened.headers, await readText(endpoint, opened));
        }
        keepOpen();
        return opened;
      });
      return { endpoint, response };
    } catch (error) {
      if (error instanceof DiscoveryError) {
        this.failed(endpoint, error);
      }
      throw error;
    }
  }

  /**
   * @param {string} endpoint
   * @param {string} path
   * @param {string | undefined} body
   * @param {AbortSignal | undefined} signal
   * @param {number} waitSeconds
   */
  async #attempt(endpoint, path, body, signal, waitSeconds) {
    try {
      const exchange = async (/** @type {AbortSignal} */ limited) => {
        const response = await this.#fetch(endpoint, path, body, limited);
        const text = await readText(endpoint, response);
        if (!response.ok) {
          throw refusal(endpoint, response.status, response.headers, text);
        }
        return { endpoint, status: response.status, text };
      };
      return await this.#within(endpoint, signal, exchange, waitSeconds);
    } catch (error) {
      if (error instanceof DiscoveryError) {
        return error;
      }
      throw error;
    }
  }

  /**
   * Runs an exchange within the time limit of one attempt. If the caller aborts the exchange,
   * throws the reason of the caller's signal. If the exchange fails otherwise, throws a
   * DiscoveryError.
   * @template T
   * @param {string} endpoint
   * @param {AbortSignal | undefined} signal
   * @param {(signal: AbortSignal, keepOpen: () => void) => Promise<T>} exchange
   * @param {number} [waitSeconds]
   */
  async #within(endpoint, signal, exchange, waitSeconds = 0) {
    signal?.throwIfAborted();
    const timeoutSeconds = this.#options.timeoutSeconds + waitSeconds;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), timeoutSeconds * 1_000);
    const abort = () => limit.abort();
    signal?.addEventListener("abort", abort, { once: true });
    let isOpen = false;
    try {
      return await exchange(limit.signal, () => (isOpen = true));
    } catch (error) {
      if (error instanceof DiscoveryError) {
        throw error;
      }
      signal?.throwIfAborted();
      throw limit.signal.aborted ? timedOut(endpoint, timeoutSeconds) : unreachable(endpoint, reason(error), error);
    } finally {
      clearTimeout(timer);
      if (!isOpen) {
        signal?.removeEventListener("abort", abort);
      }
    }
  }

  /**
   * Sends the body without a JSON content type, for which a browser would first send a CORS preflight
   * request. The service accepts any content type.
   * @param {string} endpoint
   * @param {string} path
   * @param {string | undefined} body
   * @param {AbortSignal} signal
   */
  #fetch(endpoint, path, body, signal) {
    const { fetch = globalThis.fetch, headers } = this.#options;
    const method = body === undefined ? "GET" : "POST";
    // Redirects are not followed, because a redirect could turn a POST into a GET.
    return fetch(`${endpoint}/${path}`, { method, headers, body, signal, redirect: "manual" });
  }
}

/**
 * The message of the innermost cause of an error. The messages of the outer errors, such as
 * `fetch failed`, do not say why a request failed.
 * @param {unknown} error
 */
export function reason(error) {
  let cause = error;
  while (cause instanceof Error && cause.cause instanceof Error) {
    cause = cause.cause;
  }
  return cause instanceof Error ? cause.message || String(/** @type {any} */ (cause).code ?? cause.name) : String(cause);
}

/**
 * @param {string} endpoint
 * @param {Response} response
 */
async function readText(endpoint, response) {
  const reader = response.body?.getReader();
  if (!reader) {
    return "";
  }
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return text + decoder.decode();
    }
    length += value.length;
    if (length > MAX_RESPONSE_BYTES) {
      await reader.cancel();
      throw protocol(endpoint, response.status, "more than 8 MiB");
    }
    text += decoder.decode(value, { stream: true });
  }
}
