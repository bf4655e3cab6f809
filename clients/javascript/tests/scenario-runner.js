// Runs the commands of a scenario with the JavaScript client. `clients/scenarios/README.md` describes the
// commands.

import { createInterface } from "node:readline";
import process from "node:process";

import { Client, DiscoveryError } from "@aurora-alliance/discovery";
import { TokenFile } from "@aurora-alliance/discovery/token-file";

let client;
const running = new Map();

const commands = {
  client({ endpoints, timeout_seconds, retries, patience_seconds }) {
    const given = { timeoutSeconds: timeout_seconds, retries, patienceSeconds: patience_seconds };
    const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    client = new Client(endpoints, options);
  },
  register: ({ request }) => client.register(request),
  heartbeat: ({ request }) => client.heartbeat(request),
  deregister: ({ request }) => client.deregister(request),
  discover: ({ request }) => client.discover(request),
  async enumerate({ request }) {
    const peer_ids = [];
    for await (const peer of client.enumerate(request)) {
      peer_ids.push(peer.peer_id);
    }
    return { peer_ids: peer_ids.sort() };
  },
  network: () => client.network(),
  health: () => client.health(),
  keep({ name, request, token_file, replace }) {
    const tokenStore = token_file === undefined ? undefined : new TokenFile(token_file);
    running.set(name, client.keep(request, { onEvent: (event) => report(name, event), tokenStore, replace }));
  },
  watch({ name, request }) {
    follow(name, client.watch(request));
  },
  stop: ({ name }) => running.get(name).stop(),
};

async function follow(name, watch) {
  for await (const event of watch) {
    report(name, event);
  }
}

function report(name, event) {
  const message = { of: name, event: event.type, peer_id: event.peer_id };
  if (event.peer) {
    message.peer_id = event.peer.peer_id;
    message.metadata_text = event.peer.metadata_text;
  }
  if (event.type === "refused") {
    message.is_permanent = event.retryInSeconds === undefined;
  }
  write(message);
}

function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...command } = JSON.parse(line);
  try {
    write({ result: (await commands[name](command)) ?? {} });
  } catch (error) {
    const { kind, code, field, message } = error;
    write({ error: error instanceof DiscoveryError ? { kind, code, field, message } : { kind: error.name, message } });
  }
}
process.exit();
