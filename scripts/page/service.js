// Runs the built command on a free port of loopback, and makes peers for it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

// A start on an empty registry takes milliseconds; a loaded machine may take much longer.
const START_SECONDS = 60;

const NAMES = "pepino lumen boreal nova sable cedar quill ember tundra wren coral juniper".split(" ");
const ARCHETYPES = ["pepino", "ethics", "memory", "vision", "tensor", "poetry", "chess"];

/** A running service. */
export class Service {
  #process;

  /** Starts a service with a registry in memory. */
  static async start(binary, ...options) {
    const service = new Service();
    const command = ["serve", "--memory", "--listen", "127.0.0.1:0", ...options];
    service.#process = spawn(binary, command, { stdio: ["ignore", "pipe", "ignore"] });
    const lines = createInterface({ input: service.#process.stdout });
    const [line] = await once(lines, "line", { signal: AbortSignal.timeout(START_SECONDS * 1_000) });
    service.url = /http:\/\/[\d.]+:\d+/.exec(line)[0];
    return service;
  }

  stop() {
    this.#process.kill("SIGKILL");
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
