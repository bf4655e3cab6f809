// Errors of the client.

// Statuses after which the same request may succeed later.
const TRANSIENT_STATUSES = [429, 500, 502, 503, 504];

/**
 * The kind of failure. `refused`: the service refused the request. `unreachable`: the connection
 * could not be established, or broke. `timed_out`: there was no complete response in time.
 * `protocol`: the response does not conform to the API. `invalid_record`: the signed registration
 * of a peer, or a message, could not be verified.
 * @typedef {"refused" | "unreachable" | "timed_out" | "protocol" | "invalid_record"} ErrorKind
 */

/**
 * The failure of a request, or of the verification of a record or a message. Its message is a
 * sentence that a person can act on.
 */
export class DiscoveryError extends Error {
  /**
   * @param {ErrorKind} kind
   * @param {string} message
   * @param {{status?: number, retryAfterSeconds?: number, body?: any, cause?: unknown}} [details]
   *   `body` is the JSON body of the error response
   */
  constructor(kind, message, { status, retryAfterSeconds, body, cause } = {}) {
    super(message, { cause });
    this.name = "DiscoveryError";
    /** The kind of failure. */
    this.kind = kind;
    /** The HTTP status, if there was a response. */
    this.status = status;
    /** How many seconds to wait before a retry, if the response has `Retry-After`. */
    this.retryAfterSeconds = retryAfterSeconds;
    /** The error code of the API, if the service sent one.
     * @type {string | undefined} */
    this.code = body?.code;
    /** The key or parameter at fault, if the service named one.
     * @type {string | undefined} */
    this.field = body?.field;
    /** With `stale_record`: the sequence number of the record that the service has of the peer.
     * @type {number | undefined} */
    this.seq = body?.seq;
    /** With `stale_signature`: a nonce of the service, to sign in place of the time.
     * @type {string | undefined} */
    this.nonce = body?.nonce;
    /** With `stale_signature`: the time of the service.
     * @type {string | undefined} */
    this.timestamp = body?.timestamp;
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    const hasNoResponse = this.kind === "unreachable" || this.kind === "timed_out";
    return hasNoResponse || TRANSIENT_STATUSES.includes(this.status ?? 0);
  }
}

/**
 * The error for a connection that could not be established, or that broke.
 * @param {string} endpoint
 * @param {string} reason
 * @param {unknown} [cause]
 */
export function unreachable(endpoint, reason, cause) {
  const message = `${endpoint} can't be reached (${reason}); check the endpoint, and that the service runs`;
  return new DiscoveryError("unreachable", message, { cause });
}

/**
 * The error for a response that was not complete in time.
 * @param {string} endpoint
 * @param {number} seconds
 */
export function timedOut(endpoint, seconds) {
  const advice = "the service may be overloaded, or the network slow";
  return new DiscoveryError("timed_out", `${endpoint} did not respond within ${seconds} s; ${advice}`);
}

/**
 * The error for a response that does not conform to the API.
 * @param {string} endpoint
 * @param {number} status
 * @param {string} what
 * @param {number} [retryAfterSeconds]
 */
export function protocol(endpoint, status, what, retryAfterSeconds) {
  const message =
    `${endpoint} responded with HTTP ${status} and ${what}; ` +
    "check that it is the endpoint of Aurora Discovery";
  return new DiscoveryError("protocol", message, { status, retryAfterSeconds });
}

/**
 * The error for a signed registration or message that could not be verified.
 * @param {string} problem
 * @param {string} [what] what could not be verified
 */
export function invalidRecord(problem, what = "the signed registration") {
  return new DiscoveryError("invalid_record", `${what} ${problem}`);
}

/**
 * The error for a response with an error status.
 * @param {string} endpoint
 * @param {number} status
 * @param {Headers} headers
 * @param {string} text the body
 */
export function refusal(endpoint, status, headers, text) {
  // HTTP also permits a date in `Retry-After`. The API never sends one, so a date is ignored.
  const delay = headers.get("retry-after")?.trim() ?? "";
  const retryAfterSeconds = /^\d+$/.test(delay) ? Number(delay) : undefined;
  try {
    const body = JSON.parse(text);
    if (typeof body.error === "string" && typeof body.code === "string") {
      const message = `the service refused: ${body.error} (${body.code}, HTTP ${status})`;
      return new DiscoveryError("refused", message, { status, retryAfterSeconds, body });
    }
  } catch {
    // Not JSON.
  }
  return protocol(endpoint, status, "a body that is not an error of the API", retryAfterSeconds);
}
