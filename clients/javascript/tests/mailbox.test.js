// Tests of mailboxes, which also end when their keeper does.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { Client, Mailbox, SecretKey, SignedMessage } from "@aurora-alliance/discovery";

import { deferred, fetchFrom, refusal, untilAborted } from "./fake-service.js";

const [key, other] = await Promise.all([SecretKey.generate(), SecretKey.generate()]);
const SID = "0123456789abcdef";
const MESSAGE = { sid: SID, type: "offer", sdp: "v=0" };

/** The mailbox of alice. `handlers` respond to its requests. */
function open(handlers, { onMessage = () => undefined, ...local } = {}) {
  const client = new Client("http://service.example", { fetch: fetchFrom(handlers), retries: 0 });
  const never = new Promise(() => undefined);
  return new Mailbox(client, { peer_id: "alice", key, token: () => "token", now: Date.now, ended: never, ...local }, { onMessage });
}

async function mailBy(signer, sdp) {
  const message = await SignedMessage.sign({ ...MESSAGE, from: "bob", to: "alice", sdp }, signer);
  return { mail: [{ id: sdp, from: "bob", message }], next_poll_seconds: 0 };
}

test("a message by another key does not suppress one of the same session", async () => {
  const responses = [await mailBy(other, "wrong"), await mailBy(key, "right"), await mailBy(key, "repeated"), await mailBy(other, "repeated")];
  const end = deferred();
  const taken = [];
  const next = (_, signal) => responses.shift() ?? (end.resolve(), untilAborted(signal));
  const mailbox = open({ "/mailbox": next }, { onMessage: ({ sdp }) => taken.push(sdp) });
  await end.promise;
  // The messages are verified concurrently, so the last ones may not have been passed on yet.
  for (const limit = performance.now() + 60_000; taken.length < 2 && performance.now() < limit; ) {
    await new Promise((later) => setTimeout(later, 5));
  }
  assert.deepEqual(taken.sort(), ["right", "wrong"]);
  mailbox.close();
});

test("a mailbox keeps no listener for each request", async () => {
  const end = deferred();
  const counts = [];
  // This stand-in for `Client` gets the mailbox's own signal, so it can count the listeners on it.
  const client = {
    mailbox: async (_, { signal }) => {
      counts.push(getEventListeners(signal, "abort").length);
      if (counts.length === 10) {
        end.resolve();
        return untilAborted(signal);
      }
      return { mail: [{ id: "1", from: "bob", message: "not one" }], next_poll_seconds: 0 };
    },
  };
  const local = { peer_id: "alice", key, token: () => "token", now: Date.now, ended: end.promise };
  new Mailbox(client, local, { onMessage: () => undefined });
  await end.promise;
  assert.equal(Math.max(...counts), 0);
});

for (const [next_poll_seconds, expected] of [[undefined, 30], [null, 30], ["5", 30], [1e300, 30], [0.5, 30], [-1, 1]]) {
  test(`a peer without mail waits ${expected} s if the service requests ${next_poll_seconds}`, async (t) => {
    const wait = deferred();
    const original = globalThis.setTimeout;
    t.mock.method(globalThis, "setTimeout", (callback, milliseconds) => {
      // A timer of 35 s is not the wait: it is the time limit of the request (10 s, and 25 s for mail).
      if (milliseconds !== 35_000) {
        wait.resolve(milliseconds / 1_000);
      }
      return original(callback, 1e9);
    });
    const mailbox = open({ "/mailbox": () => ({ mail: [], next_poll_seconds }) });
    assert.equal(await wait.promise, expected);
    mailbox.close();
  });
}

test("a peer that expects mail waits for an hour at most", async (t) => {
  const wait = deferred();
  const original = globalThis.setTimeout;
  t.mock.method(globalThis, "setTimeout", (callback, milliseconds) => {
    if (milliseconds !== 35_000) {
      wait.resolve(milliseconds / 1_000);
    }
    return original(callback, 1e9);
  });
  const client = new Client("http://service.example", {
    fetch: fetchFrom({ "/mailbox": () => ({ mail: [], next_poll_seconds: 1e12 }) }),
  });
  const local = { peer_id: "alice", key, token: () => "token", now: Date.now, ended: new Promise(() => undefined) };
  const mailbox = new Mailbox(client, local, { onMessage: () => undefined, isExpecting: () => true });
  assert.equal(await wait.promise, 3_600);
  mailbox.close();
});

test("a message waits until the sender is registered", async () => {
  const tokens = [];
  let token;
  const mail = ({ lease_token }) => (tokens.push(lease_token), { expires_in_seconds: 60 });
  const mailbox = open({ "/mail": mail }, { token: () => token });
  const sending = mailbox.send("bob", MESSAGE);
  const reason = new Error("enough");
  await assert.rejects(mailbox.send("bob", MESSAGE, { signal: AbortSignal.abort(reason) }), reason);
  token = "later";
  await sending;
  assert.deepEqual(tokens, ["later"]);
  token = undefined;
  mailbox.close();
  await assert.rejects(mailbox.send("bob", MESSAGE), { name: "AbortError" });
});

test("a mailbox ends when its keeper is stopped", async () => {
  const [requested, aborted] = [deferred(), deferred()];
  const mailbox = (_, signal) => {
    signal.addEventListener("abort", aborted.resolve);
    requested.resolve();
    return untilAborted(signal);
  };
  const client = new Client("http://service.example", { fetch: fetchFrom({ "/mailbox": mailbox }) });
  const keeper = client.keep({ peer_id: "alice", mail: true }, { key });
  keeper.mailbox({ onMessage: () => undefined });
  await requested.promise;
  await keeper.stop();
  await aborted.promise;
});

test("a mailbox and connections end when their keeper is refused", async () => {
  const fetch = fetchFrom({ "/register": () => refusal(400, "invalid_field") });
  const client = new Client("http://service.example", { fetch });
  const keeper = client.keep({ peer_id: "alice", mail: true }, { key });
  const mailbox = keeper.mailbox({ onMessage: () => undefined });
  const sending = mailbox.send("bob", MESSAGE);
  await assert.rejects(keeper.ended(), { code: "invalid_field" });
  await assert.rejects(sending, { name: "AbortError" });
});
