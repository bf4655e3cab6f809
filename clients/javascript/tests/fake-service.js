// A stand-in for the service within the process, for tests of what the scenarios cannot test.

const LEASE = { ttl_seconds: 30, heartbeat_interval_seconds: 10, observed_address: "127.0.0.1" };
const RESPONSES = {
  "/register": () => ({ ...LEASE, peer_id: "alice", lease_token: "token" }),
  "/heartbeat": () => ({ ...LEASE, peer_id: "alice" }),
  "/deregister": () => ({ peer_id: "alice" }),
  "/discover": () => ({ peers: [] }),
  "/mail": () => ({ expires_in_seconds: 60 }),
  "/mailbox": (_, signal) => untilAborted(signal),
};

/**
 * A `fetch` for the options of a client. Each of `handlers` gets the requests for its path, and their
 * signals, and returns the JSON of a response, or a `Response`.
 */
export function fetchFrom(handlers = {}) {
  const all = { ...RESPONSES, ...handlers };
  return async (url, { body, signal }) => {
    const response = await all[new URL(url).pathname](body && JSON.parse(body), signal);
    return response instanceof Response ? response : Response.json(response);
  };
}

/** A refusal by the service. */
export function refusal(status, code) {
  return Response.json({ error: "the reason", code }, { status });
}

/** A response that never comes. Rejects when the request is aborted. */
export function untilAborted(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** A promise, and the function that resolves it. */
export function deferred() {
  let resolve;
  const promise = new Promise((resolved) => (resolve = resolved));
  return { promise, resolve };
}
