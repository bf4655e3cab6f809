// Runs the built command on a free port of loopback, and makes peers for it.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

// A start on an empty registry takes milliseconds; a loaded machine may take much longer.
const START_SECONDS = 60;
// The lease of the peers, in seconds, which outlasts every check.
const LONG_LEASE_SECONDS = 3_600;

const NAMES = "pepino lumen boreal nova sable cedar quill ember tundra wren coral juniper".split(" ");
const ARCHETYPES = ["pepino", "ethics", "memory", "vision", "tensor", "poetry", "chess"];

/** A running service. */
export class Service {
  #binary;
  #options;
  #process;

  constructor(binary, options) {
    this.#binary = binary;
    this.#options = options;
  }

  /** Starts a service, with a registry in memory unless the options say otherwise. */
  static async start(binary, ...options) {
    const store = options.includes("--data") ? [] : ["--memory"];
    const service = new Service(binary, [...store, ...options]);
    await service.#run("127.0.0.1:0");
    return service;
  }

  /** Starts a service with this many peers, which are imported into a new data directory. */
  static async startWith(binary, count, data, ...options) {
    const now = Date.now();
    const lease = { ttl_seconds: LONG_LEASE_SECONDS, token_hash: "A".repeat(22), token_only: false, source: "203.0.113.1" };
    const times = { registered_at_millis: now, last_seen_millis: now, proven_at_millis: now };
    const ends = { expires_at_millis: now + LONG_LEASE_SECONDS * 1_000 };
    const peers = Array.from({ length: count }, (_, number) => ({ ...peer(number), ...lease, ...times, ...ends }));
    const lines = [{ aurora_discovery_export: 1, exported_at_millis: now }, ...peers, { peers: count }];
    const input = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    execFileSync(binary, ["import", "--data", data], { input, stdio: "pipe" });
    return Service.start(binary, "--data", data, ...options);
  }

  /** Kills the service, and starts it again at the same address. */
  async restart() {
    this.stop();
    await once(this.#process, "exit");
    await this.#run(new URL(this.url).host);
  }

  stop() {
    this.#process.kill("SIGKILL");
  }

  async #run(address) {
    const command = ["serve", "--listen", address, ...this.#options];
    this.#process = spawn(this.#binary, command, { stdio: ["ignore", "pipe", "ignore"] });
    const lines = createInterface({ input: this.#process.stdout });
    const [line] = await once(lines, "line", { signal: AbortSignal.timeout(START_SECONDS * 1_000) });
    this.url = /http:\/\/[\d.]+:\d+/.exec(line)[0];
  }

  async post(path, body) {
    const response = await fetch(`${this.url}/${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) {
      throw new Error(`${path} got ${response.status}: ${await response.text()}`);
    }
    return response.json();
  }

  register(peer) {
    return this.post("register", peer);
  }

  /** Registers peers with names and archetypes of some variety. */
  async fill(count) {
    for (let first = 0; first < count; first += 50) {
      const numbers = Array.from({ length: Math.min(50, count - first) }, (_, index) => first + index);
      await Promise.all(numbers.map((number) => this.register(peer(number))));
    }
  }
}

/** The peer with a number. */
export function peer(number) {
  const round = Math.floor(number / NAMES.length);
  const name = NAMES[number % NAMES.length];
  // Archetypes at the beginning of the list are more frequent.
  const archetype = ARCHETYPES[Math.floor(((number * 0.618) % 1) ** 1.7 * ARCHETYPES.length)];
  return {
    peer_id: round === 0 ? name : `${name}-${round + 1}`,
    address: `203.0.113.${1 + (number % 250)}`,
    port: 9_000 + (number % 1_000),
    archetypes: number % 3 === 0 ? [archetype, ARCHETYPES[number % ARCHETYPES.length]] : [archetype],
    metadata: { version: "1.0.0", region: number % 2 ? "eu" : "us" },
  };
}
