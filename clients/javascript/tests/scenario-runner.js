// Runs the commands of a scenario with the JavaScript client. `clients/scenarios/README.md` describes the
// commands.

import { createInterface } from "node:readline";
import process from "node:process";

import { Client, DiscoveryError, SignedMessage, SignedRecord, Signer } from "@aurora-alliance/discovery";
import { KeyFile } from "@aurora-alliance/discovery/key-file";
import { TokenFile } from "@aurora-alliance/discovery/token-file";

let client;
const running = new Map();

const commands = {
  client({ endpoints, timeout_seconds, retries, patience_seconds }) {
    const given = { timeoutSeconds: timeout_seconds, retries, patienceSeconds: patience_seconds };
    const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    client = new Client(endpoints, options);
  },
  async key({ key_file }) {
    return { public_key: (await keyIn(key_file)).publicKey };
  },
  async register({ request, key_file }) {
    const key = await keyIn(key_file);
    return client.register(request, { signer: key && new Signer(key) });
  },
  heartbeat: ({ request }) => client.heartbeat(request),
  deregister: ({ request }) => client.deregister(request),
  async mail({ request, message, key_file }) {
    const { lease_token } = request;
    return client.mail({ to: message.to, lease_token, message: await SignedMessage.sign(message, await keyIn(key_file)) });
  },
  async mailbox({ request }) {
    const { mail, next_poll_seconds } = await client.mailbox(request);
    const messages = await Promise.all(mail.map(({ message }) => SignedMessage.verify(message)));
    return { from: mail.map(({ from }) => from), ids: mail.map(({ id }) => id), messages, next_poll_seconds };
  },
  async discover({ request }) {
    const page = await client.discover(request);
    for (const peer of page.peers) {
      if (peer.signed) {
        const record = await SignedRecord.verify(peer.signed);
        peer.signed = { ...record, is_dated: record.issued_at !== undefined };
      }
    }
    return page;
  },
  async enumerate({ request }) {
    const peer_ids = [];
    for await (const peer of client.enumerate(request)) {
      peer_ids.push(peer.peer_id);
    }
    return { peer_ids: peer_ids.sort() };
  },
  network: () => client.network(),
  health: () => client.health(),
  async keep({ name, request, token_file, replace, key_file, replaces_key_file, audience }) {
    const options = {
      onEvent: (event) => report(name, event),
      tokenStore: token_file === undefined ? undefined : new TokenFile(token_file),
      replace,
      key: await keyIn(key_file),
      replacesKey: await keyIn(replaces_key_file),
      audience,
    };
    running.set(name, client.keep(request, options));
  },
  watch({ name, request }) {
    follow(name, client.watch(request));
  },
  stop: ({ name }) => running.get(name).stop(),
};

async function keyIn(path) {
  return path === undefined ? undefined : new KeyFile(path).readOrCreate();
}

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
