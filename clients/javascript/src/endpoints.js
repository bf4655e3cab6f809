// The endpoints of a service, and the one that requests go to.

import { seconds } from "./time.js";

// The minimum time in seconds before a client returns to the endpoint that it started at. The maximum
// is twice as long. The time is random, so that the clients of an endpoint that was down do not return
// to it all at once.
const MIN_ABSENCE = 300;

/**
 * The URLs of a service. All requests go to the current one. When a request fails, but may succeed
 * at another endpoint, the next URL of the list becomes the current one. After 5 to 10 minutes, the
 * client returns to the URL that it started at, so that an endpoint that was down gets its clients
 * back.
 */
export class Endpoints {
  #urls;
  #first;
  #current;
  #returnAt = 0;
  #clock;

  /**
   * @param {string | string[]} urls
   * @param {() => number} [clock] returns seconds
   */
  constructor(urls, clock = seconds) {
    this.#urls = [urls].flat().map(checkedEndpoint);
    if (this.#urls.length === 0) {
      throw new TypeError("a client needs at least one endpoint");
    }
    // Each client starts at a random endpoint, so that the clients are distributed over all endpoints.
    this.#first = this.#current = Math.floor(Math.random() * this.#urls.length);
    this.#clock = clock;
  }

  get length() {
    return this.#urls.length;
  }

  /** The URL that the next request goes to. */
  get current() {
    if (this.#current !== this.#first && this.#clock() >= this.#returnAt) {
      this.#current = this.#first;
    }
    return this.#urls[this.#current];
  }

  /**
   * Moves to the next endpoint, unless a concurrent request has left `failed` already.
   * @param {string} failed
   */
  leave(failed) {
    if (this.current === failed) {
      if (this.#current === this.#first) {
        this.#returnAt = this.#clock() + MIN_ABSENCE * (1 + Math.random());
      }
      this.#current = (this.#current + 1) % this.#urls.length;
    }
  }
}

/**
 * `url` without slashes at its end.
 * @param {string} url
 */
function checkedEndpoint(url) {
  if (!URL.canParse(url)) {
    throw new TypeError(`the endpoint ${url} must be a URL such as http://127.0.0.1:8080 or https://host/stage`);
  }
  const { protocol: scheme, username, password, search, hash } = new URL(url);
  if (username || password) {
    // Error messages contain the endpoint, so it must not contain a secret.
    throw new TypeError("the endpoint must not contain a user name or password: send an authorization header");
  }
  if (scheme !== "http:" && scheme !== "https:") {
    throw new TypeError(`the endpoint ${url} must begin with http:// or https://`);
  }
  if (search || hash) {
    throw new TypeError(`the endpoint ${url} must end with its path: no ? and no #`);
  }
  return url.replace(/\/+$/, "");
}
