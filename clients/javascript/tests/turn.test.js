// Tests of the STUN and TURN servers, with which peers find a path to each other.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { test } from "node:test";

import { Client, SecretKey } from "@aurora-alliance/discovery";

// A record of alice, which the Rust crate has made.
const { ours: [signed] } = JSON.parse(await readFile(process.env.VECTORS, "utf8"));

test("heartbeats renew the passwords of a peer with a mailbox for TURN servers", async () => {
  const lease = { ttl_seconds: 3, heartbeat_interval_seconds: 1, observed_address: "127.0.0.1" };
  const responses = {
    "/register": () => ({ ...lease, peer_id: "carol", ice_servers: [{ urls: ["turn:a"], credential: "first" }] }),
    // Like the service, this names servers only if the heartbeat requests mail.
    "/heartbeat": ({ mail }) => ({
      ...lease,
      peer_id: "carol",
      ...(mail && { mail: [], ice_servers: [{ urls: ["turn:a"], credential: "second" }] }),
    }),
    "/deregister": () => ({ peer_id: "carol" }),
    "/mailbox": () => ({ mail: [], next_poll_seconds: 60 }),
  };
  const fetch = async (url, { body }) => Response.json(responses[new URL(url).pathname](JSON.parse(body)));
  // Node has no WebRTC. Only the servers that a connection is given matter here.
  const used = [];
  globalThis.RTCPeerConnection = class {
    constructor({ iceServers }) {
      used.push(iceServers.map(({ credential }) => credential));
      throw new DOMException("no network", "OperationError");
    }
  };
  const client = new Client("http://service.example", { fetch });
  const key = await SecretKey.generate();
  let keeper;
  await new Promise((resolve) => {
    const onEvent = ({ type }) => type === "renewed" && resolve();
    keeper = client.keep({ peer_id: "carol", mail: true }, { key, onEvent });
  });
  const connections = keeper.connections();
  await assert.rejects(connections.connect({ peer_id: "alice", signed }), { name: "OperationError" });
  assert.deepEqual(used, [["second"]]);
  connections.close();
  await keeper.stop();
});
