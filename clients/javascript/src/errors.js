// Errors of the client.

// Statuses after which the same request may succeed later.
const TRANSIENT_STATUSES = [429, 500, 502, 503, 504];

/**
 * What failed: the service refused the request (`refused`), the connection could not be established
 * or broke (`unreachable`), there was no complete response in time (`timed_out`), or the response is
 * not one of the API (`protocol`).
 * @typedef {"refused" | "unreachable" | "timed_out" | "protocol"} ErrorKind
 */

/** The reason why a request failed, as a sentence that a person can act on. */
export class DiscoveryError extends Error {
  /**
   * @param {ErrorKind} kind
   * @param {string} message
   * @param {{status?: number, code?: string, field?: string, retryAfterSeconds?: number, cause?: unknown}} [details]
   */
  constructor(kind, message, { status, code, field, retryAfterSeconds, cause } = {}) {
    super(message, { cause });
    this.name = "DiscoveryError";
    /** What failed. */
    this.kind = kind;
    /** The HTTP status, if there was a response. */
    this.status = status;
    /** The error code of the API, if the service sent one. */
    this.code = code;
    /** The key or parameter at fault, if the service named one. */
    this.field = field;
    /** When to retry, if the service said so. */
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return this.status === undefined || TRANSIENT_STATUSES.includes(this.status);
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
 * The error for a response with an error status.
 * @param {string} endpoint
 * @param {number} status
 * @param {Headers} headers
 * @param {string} text the body
 */
export function refusal(endpoint, status, headers, text) {
  // The API never sends a date, so a date is ignored.
  const delay = headers.get("retry-after")?.trim() ?? "";
  const retryAfterSeconds = /^\d+$/.test(delay) ? Number(delay) : undefined;
  try {
    const { error, code, field } = JSON.parse(text);
    if (typeof error === "string" && typeof code === "string") {
      const message = `the service refused: ${error} (${code}, HTTP ${status})`;
      return new DiscoveryError("refused", message, { status, code, field, retryAfterSeconds });
    }
  } catch {
    // Not JSON.
  }
  return protocol(endpoint, status, "a body that is not an error of the API", retryAfterSeconds);
}
