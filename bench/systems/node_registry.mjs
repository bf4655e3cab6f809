// A registry of peers on Node's HTTP server, with the operations of the service: leases, archetypes,
// random samples. It keeps everything in the memory of one process. Its argument is the port.

import { createServer } from "node:http";

const MAX_BODY_BYTES = 16_384;
const SWEEP_MILLIS = 5_000;

/** The ids of an archetype's peers, in an array, so that a sample takes constant time. */
class Members {
  ids = [];
  positions = new Map();

  add(id) {
    if (this.positions.has(id)) return;
    this.positions.set(id, this.ids.length);
    this.ids.push(id);
  }

  remove(id) {
    const position = this.positions.get(id);
    this.positions.delete(id);
    const last = this.ids.pop();
    if (last === id) return;
    this.ids[position] = last;
    this.positions.set(last, position);
  }

  /** A random sample of at most `count` ids, by Floyd's algorithm. */
  sample(count) {
    const size = this.ids.length;
    const chosen = new Set();
    for (let bound = Math.max(size - count, 0); bound < size; bound += 1) {
      const drawn = Math.floor(Math.random() * (bound + 1));
      chosen.add(chosen.has(drawn) ? bound : drawn);
    }
    return [...chosen].map((position) => this.ids[position]);
  }
}

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const peers = new Map();
const members = new Map();

function remove(id) {
  for (const archetype of new Set(peers.get(id).archetypes)) members.get(archetype).remove(id);
  peers.delete(id);
}

function register(body) {
  const { peer_id: id, address, port, archetypes = [], metadata = {}, ttl_seconds: seconds = 300 } = body;
  expectName(id, "peer_id");
  expect(typeof address === "string" && address.length <= 255, "address must be text");
  expect(Number.isInteger(port) && port >= 0 && port <= 65535, "port must be from 0 to 65535");
  expect(Array.isArray(archetypes) && archetypes.length <= 32, "archetypes must be a list");
  for (const archetype of archetypes) expectName(archetype, "archetypes");
  expect(typeof metadata === "object" && metadata !== null, "metadata must be an object");
  expect(Number.isInteger(seconds) && seconds >= 30 && seconds <= 3600, "ttl_seconds must be from 30 to 3600");
  if (peers.has(id)) remove(id);
  const expiresAt = Date.now() + seconds * 1000;
  peers.set(id, { address, port, archetypes, metadata, seconds, expiresAt });
  for (const archetype of archetypes) {
    if (!members.has(archetype)) members.set(archetype, new Members());
    members.get(archetype).add(id);
  }
  return { peer_id: id, ttl_seconds: seconds, expires_at: expiresAt };
}

function heartbeat({ peer_id: id }) {
  expectName(id, "peer_id");
  const peer = peers.get(id);
  const now = Date.now();
  if (peer === undefined || peer.expiresAt <= now) throw new Refusal(404, "no such peer is registered here");
  peer.expiresAt = now + peer.seconds * 1000;
  return { peer_id: id, expires_at: peer.expiresAt };
}

function discover(parameters) {
  const limit = Number(parameters.get("limit") ?? 1000);
  expect(Number.isInteger(limit) && limit >= 1 && limit <= 1000, "limit must be from 1 to 1000");
  const exclude = parameters.get("exclude");
  const now = Date.now();
  const found = [];
  // One more than the limit, because the caller may be among them.
  for (const id of members.get(parameters.get("archetype"))?.sample(limit + 1) ?? []) {
    const { address, port, expiresAt } = peers.get(id);
    if (id !== exclude && expiresAt > now && found.length < limit) found.push({ peer_id: id, address, port });
  }
  return { peers: found, count: found.length };
}

function expectName(value, key) {
  expect(typeof value === "string" && value.length >= 1 && value.length <= 128, `${key} must have 1 to 128 characters`);
}

function expect(condition, message) {
  if (!condition) throw new Refusal(400, message);
}

function respond(request, text) {
  const [path, query = ""] = request.url.split("?");
  if (request.method === "GET" && path === "/discover") return discover(new URLSearchParams(query));
  if (request.method === "POST" && path === "/heartbeat") return heartbeat(parse(text));
  if (request.method === "POST" && path === "/register") return register(parse(text));
  throw new Refusal(404, "no such resource");
}

function parse(text) {
  try {
    const body = JSON.parse(text);
    if (typeof body === "object" && body !== null) return body;
  } catch {
    // The `throw` below reports it.
  }
  throw new Refusal(400, "the body must be a JSON object");
}

const server = createServer((request, response) => {
  let text = "";
  request.setEncoding("utf8");
  request.on("data", (part) => {
    text += part;
    if (text.length > MAX_BODY_BYTES) request.destroy();
  });
  request.on("end", () => {
    let status = 200;
    let body;
    try {
      body = respond(request, text);
    } catch (error) {
      status = error.status ?? 500;
      body = { error: error.message };
    }
    const content = JSON.stringify(body);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(content) };
    response.writeHead(status, headers).end(content);
  });
});
server.keepAliveTimeout = 600_000;

setInterval(() => {
  const now = Date.now();
  for (const [id, peer] of peers) if (peer.expiresAt <= now) remove(id);
}, SWEEP_MILLIS).unref();

server.listen(Number(process.argv[2]), "127.0.0.1");
