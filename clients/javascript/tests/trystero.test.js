// Tests of the strategy for trystero. A stand-in replaces trystero's core. It receives the
// functions of the strategy, which the tests then call.

import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";

import { SecretKey, SignedMessage } from "@aurora-alliance/discovery";

import { deferred, fetchFrom, untilAborted } from "./fake-service.js";

const CORE = `export const selfId = "self"; export const createStrategy = (strategy) => () => strategy;`;
const inUrl = (source) => `data:text/javascript,${encodeURIComponent(source)}`;
register(
  inUrl(`export const resolve = (name, context, next) =>
    name === "@trystero-p2p/core" ? { url: ${JSON.stringify(inUrl(CORE))}, shortCircuit: true } : next(name, context)`),
);
const { joinRoom, keyOf } = await import("@aurora-alliance/discovery/trystero");

const URLS = ["http://service.example"];
const strategy = joinRoom({ appId: "tests", relayConfig: { urls: URLS } }, "lobby");

/** Joins a room, and returns the function that leaves it. */
async function join(topic, handlers, { onMessage, iceServers = [] } = {}) {
  const relayConfig = { urls: URLS, clientOptions: { fetch: fetchFrom(handlers) } };
  const config = { relayConfig, iceServers };
  const take = (_, message) => onMessage(message);
  return strategy.subscribe(await strategy.init(config), topic, "of this peer", take, undefined, { config });
}

test("only the holder of a peer's id in a room speaks as that peer", async () => {
  const [victim, attacker] = await Promise.all([SecretKey.generate(), SecretKey.generate()]);
  const mailFrom = async (from, key) => {
    const sdp = JSON.stringify({ offer: from });
    const message = { from, to: "self@room", sid: SignedMessage.newSession(), type: "trystero", sdp };
    return { mail: [{ id: from, from, message: await SignedMessage.sign(message, key) }], next_poll_seconds: 0 };
  };
  const responses = [
    await mailFrom("victim@room@x", attacker),
    await mailFrom("victim@other", attacker),
    await mailFrom("victim@room", victim),
  ];
  const { promise, resolve } = deferred();
  const handlers = { "/mailbox": (_, signal) => responses.shift() ?? untilAborted(signal) };
  const leave = await join("room", handlers, { onMessage: resolve });
  const { peerId, offer } = await promise;
  assert.deepEqual([peerId, offer], ["victim", "victim@room"]);
  assert.equal(keyOf("victim"), victim.publicKey);
  leave();
});

test("a peer that joins a room again at once is deregistered before it registers", async () => {
  const requests = [];
  const { promise, resolve } = deferred();
  const lease = { ttl_seconds: 30, heartbeat_interval_seconds: 10, observed_address: "127.0.0.1" };
  const handlers = {
    "/register": () => {
      requests.push("register");
      if (requests.filter((request) => request === "register").length === 2) {
        resolve();
      }
      return { ...lease, peer_id: "self@again", lease_token: "token" };
    },
    "/deregister": async () => {
      await new Promise((later) => setTimeout(later, 50));
      requests.push("deregister");
      return { peer_id: "self@again" };
    },
  };
  const registered = deferred();
  const first = await join("again", { ...handlers, "/mailbox": (_, signal) => (registered.resolve(), untilAborted(signal)) });
  await registered.promise;
  first();
  const second = await join("again", handlers);
  await promise;
  assert.deepEqual(requests, ["register", "deregister", "register"]);
  second();
});

test("heartbeats renew the passwords for TURN servers", async () => {
  const lease = { ttl_seconds: 30, heartbeat_interval_seconds: 0, observed_address: "127.0.0.1", peer_id: "self@turn" };
  const { promise, resolve } = deferred();
  // The second heartbeat gets no servers, which changes nothing. Each one is sent after the response to the
  // previous one was handled.
  const heartbeats = [{ ice_servers: [{ urls: "turn:a", credential: "second" }] }, {}];
  const handlers = {
    "/register": () => ({ ...lease, lease_token: "token", ice_servers: [{ urls: "turn:a", credential: "first" }] }),
    "/heartbeat": () => {
      if (heartbeats.length === 0) {
        resolve();
      }
      return { ...lease, ...heartbeats.shift() };
    },
  };
  const iceServers = [];
  const leave = await join("turn", handlers, { iceServers });
  await promise;
  assert.deepEqual(iceServers.map(({ credential }) => credential), ["second"]);
  leave();
});
