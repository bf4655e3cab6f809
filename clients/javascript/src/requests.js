// Converts requests to the format of the API. An unknown key throws a TypeError. Otherwise, a misspelled
// key would have no effect, and the caller would not notice.

const DISCOVER_KEYS = ["archetypes", "limit", "exclude", "order", "cursor", "view", "fill"];
const REGISTER_KEYS = [
  "peer_id",
  "address",
  "port",
  "archetypes",
  "metadata",
  "ttl_seconds",
  "lease_token",
  "token_only",
  "mail",
  "discover",
];

/**
 * The query parameters of `GET /discover`.
 * @param {import("./types.js").DiscoverRequest} request
 * @returns {[string, string][]}
 */
export function parameters(request) {
  checkKeys(request, DISCOVER_KEYS);
  const { archetypes = [], ...others } = request;
  return [
    ...archetypes.map((/** @type {string} */ archetype) => /** @type {[string, string]} */ (["archetype", archetype])),
    ...Object.entries(defined(others)).map(
      ([key, value]) => /** @type {[string, string]} */ ([key, String(value)]),
    ),
  ];
}

/** @param {import("./types.js").RegisterRequest} request */
export function registerBody(request) {
  checkKeys(request, REGISTER_KEYS);
  const { metadata, discover, ...others } = request;
  const body = JSON.stringify({ ...others, discover: discoverKey(discover) });
  if (metadata === undefined) {
    return body;
  }
  if (typeof metadata !== "string") {
    return splice(body, JSON.stringify(metadata));
  }
  JSON.parse(metadata); // must be JSON, because other text could add keys
  return splice(body, metadata);
}

/** @param {import("./types.js").HeartbeatRequest} request */
export function heartbeatBody(request) {
  checkKeys(request, ["peer_id", "lease_token", "mail", "discover"]);
  return JSON.stringify({ ...request, discover: discoverKey(request.discover) });
}

/** @param {import("./types.js").HeartbeatsRequest} request */
export function heartbeatsBody(request) {
  checkKeys(request, ["peer_ids", "discover"]);
  return JSON.stringify({ ...request, discover: discoverKey(request.discover) });
}

/** @param {import("./types.js").MailRequest} request */
export function mailBody(request) {
  checkKeys(request, ["to", "lease_token", "message"]);
  return JSON.stringify(request);
}

/** @param {import("./types.js").MailboxRequest} request */
export function mailboxBody(request) {
  checkKeys(request, ["peer_id", "lease_token", "acknowledge", "wait_seconds"]);
  return JSON.stringify(request);
}

/** @param {import("./types.js").DeregisterRequest} request */
export function deregisterBody(request) {
  checkKeys(request, ["peer_id", "lease_token"]);
  return JSON.stringify(request);
}

/**
 * The value of the key `discover` of another request.
 * @param {import("./types.js").DiscoverRequest} [request]
 */
export function discoverKey(request) {
  if (request === undefined) {
    return undefined;
  }
  checkKeys(request, DISCOVER_KEYS);
  const { archetypes, ...others } = request;
  return { archetype: archetypes, ...others };
}

/**
 * Adds metadata, which is JSON text, to a JSON object, so that other peers receive it byte for
 * byte.
 * @param {string} body
 * @param {string} metadata
 */
function splice(body, metadata) {
  return `${body.slice(0, -1)},"metadata":${metadata}}`;
}

/**
 * @param {object} request
 * @param {string[]} keys
 */
function checkKeys(request, keys) {
  const unknown = Object.keys(request).find((key) => !keys.includes(key));
  if (unknown !== undefined) {
    throw new TypeError(`a request has no key ${unknown}; it may have ${keys.join(", ")}`);
  }
}

/** @param {object} value */
function defined(value) {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined));
}
