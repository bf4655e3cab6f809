// Each call ends when its signal is aborted. The scenarios cannot test this, because they are the
// same for all languages, and the other clients have no abort signals.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { Client } from "@aurora-alliance/discovery";

// A server that never responds.
const server = createServer();
let client;

before(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening");
  client = new Client(`http://127.0.0.1:${server.address().port}`);
});

after(() => {
  server.closeAllConnections();
  server.close();
});

const calls = {
  register: (options) => client.register({ peer_id: "alice" }, options),
  heartbeat: (options) => client.heartbeat({ peer_id: "alice" }, options),
  heartbeats: (options) => client.heartbeats({ peer_ids: ["alice"] }, options),
  deregister: (options) => client.deregister({ peer_id: "alice" }, options),
  discover: (options) => client.discover({}, options),
  enumerate: (options) => client.enumerate({}, options).next(),
  watch: (options) => client.watch({}, options).next(),
  network: (options) => client.network(options),
  health: (options) => client.health(options),
};

for (const [name, call] of Object.entries(calls)) {
  test(`an aborted ${name} rejects with the reason of its signal`, async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const requested = once(server, "request");
    const outcome = call({ signal: controller.signal });
    await Promise.race([requested, outcome]);
    controller.abort(reason);
    await assert.rejects(outcome, reason);
  });

  test(`a ${name} with an aborted signal sends nothing`, async () => {
    const refuse = () => assert.fail("a request was sent");
    server.on("request", refuse);
    await assert.rejects(call({ signal: AbortSignal.abort() }), { name: "AbortError" });
    server.off("request", refuse);
  });
}

test("a closed watch is done", async () => {
  const watch = client.watch();
  const requested = once(server, "request");
  const next = watch.next();
  await requested;
  watch.close();
  assert.deepEqual(await next, { done: true, value: undefined });
});

test("an unknown key of a request is an error that lists the keys", async () => {
  await assert.rejects(client.discover({ archetype: "chess" }), /no key archetype; it may have archetypes,/);
});
