// Tests of connections with a stand-in for WebRTC, which Node does not have.
// `scripts/check-channels` opens real channels, in a browser.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Client, Connections, SecretKey, SignedMessage, Signer } from "@aurora-alliance/discovery";

import { deferred, fetchFrom, refusal, untilAborted } from "./fake-service.js";

const [key, other] = await Promise.all([SecretKey.generate(), SecretKey.generate()]);
const bob = { peer_id: "bob", signed: JSON.parse(await new Signer(other).body({ peer_id: "bob", mail: true })).signed };
let made;

class FakeConnection extends EventTarget {
  #described = deferred();
  iceGatheringState = "complete";
  localDescription = { sdp: "v=0" };
  closed = false;

  constructor() {
    super();
    made.push(this);
  }

  createDataChannel() {
    return Object.assign(new EventTarget(), { readyState: "connecting" });
  }

  async setLocalDescription() {
    await this.#described.promise;
  }

  /** In these tests, only connections that answer an offer get a remote description. */
  async setRemoteDescription() {
    this.describes();
  }

  /** Completes the local description. */
  describes() {
    this.#described.resolve();
  }

  close() {
    this.closed = true;
  }

  opens() {
    const channel = Object.assign(new EventTarget(), { readyState: "open" });
    this.dispatchEvent(Object.assign(new Event("datachannel"), { channel }));
    return channel;
  }
}

beforeEach(() => {
  made = [];
  globalThis.RTCPeerConnection = FakeConnection;
});
afterEach(() => delete globalThis.RTCPeerConnection);

function offerOfBob(sdp) {
  const message = { from: "bob", to: "alice", sid: SignedMessage.newSession(), type: "offer", sdp };
  return SignedMessage.sign(message, other);
}

/** The connections of alice. Her mailbox delivers the `batches` in order, each when it resolves. */
function connectionsOf(batches, onMail, options = {}) {
  const handlers = {
    "/mailbox": async (_, signal) => {
      const batch = await batches.shift();
      const mail = batch?.map((message, id) => ({ id: `${id}`, from: "bob", message }));
      return mail ? { mail, next_poll_seconds: 0 } : untilAborted(signal);
    },
    "/mail": ({ message }) => onMail(JSON.parse(Buffer.from(message.split(".")[1], "base64url"))),
  };
  const client = new Client("http://service.example", { fetch: fetchFrom(handlers), retries: 0 });
  const ended = new Promise(() => undefined);
  const local = { peer_id: "alice", key, token: () => "token", now: Date.now, iceServers: () => [], ended };
  return new Connections(client, local, options);
}

test("an offer of the other peer that opens the channel first makes the own offer needless", async () => {
  const [calls, answered] = [deferred(), deferred()];
  const sent = [];
  const onMail = ({ type }) => {
    sent.push(type);
    answered.resolve();
    return type === "answer" ? { expires_in_seconds: 60 } : refusal(404, "peer_not_registered");
  };
  const connections = connectionsOf([calls.promise], onMail);
  const connecting = connections.connect(bob);
  while (made.length < 1) {
    await new Promise((later) => setTimeout(later, 1));
  }
  calls.resolve([await offerOfBob("v=0")]);
  await answered.promise;
  const channel = made[1].opens();
  // The description of alice's own offer is complete only now.
  setTimeout(() => made[0].describes(), 10);
  assert.equal(await connecting, channel);
  await new Promise((later) => setTimeout(later, 50));
  assert.deepEqual(sent, ["answer"]);
  assert.deepEqual(made.map(({ closed }) => closed), [true, false]);
  connections.close();
});

test("one sender can't use up the offers that are answered at the same time", async () => {
  const offers = await Promise.all(["v=1", "v=2", "v=3"].map(offerOfBob));
  const later = deferred();
  let answers = 0;
  const onMail = () => {
    answers += 1;
    if (answers === 2) {
      later.resolve([]);
    }
    return { expires_in_seconds: 60 };
  };
  let decided = 0;
  const accepts = () => (decided += 1) > 0;
  const connections = connectionsOf([offers, later.promise], onMail, { accepts });
  await later.promise;
  await new Promise((settled) => setTimeout(settled, 50));
  assert.deepEqual([decided, answers, made.length], [2, 2, 2]);
  connections.close();
});
