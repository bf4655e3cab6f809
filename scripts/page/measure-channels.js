// Opens channels between two browsers through a service, one after the other, and prints as JSON
// the time and the messages that they took. `scripts/check-channels` runs it.
//
//   measure-channels.js URL COUNT addresses|names all|relay

import { Window, startBrowser } from "./browser.js";
import { LAB } from "./lab.js";

const WITH_ADDRESSES = "--disable-features=WebRtcHideLocalIpsWithMdns";

/** Runs in a page. Registers a peer that takes calls. */
const JOIN = async ([id, iceTransportPolicy]) => {
  globalThis.made = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...parameters) {
      super(...parameters);
      made.push(this);
    }
  };
  globalThis.peer = await lab.join(id, { mayWait: true });
  peer.receive({ iceTransportPolicy });
  return peer.listed();
};

/** Runs in a page. Opens a channel, and closes it. */
const CALL = async (record) => {
  const started = performance.now();
  let channel;
  try {
    channel = await peer.connections.connect(record);
  } catch ({ name }) {
    return { refused: name };
  }
  const milliseconds = performance.now() - started;
  const connection = made.at(-1);
  const stats = new Map(await connection.getStats());
  const transport = [...stats.values()].find(({ type }) => type === "transport");
  const { localCandidateId } = stats.get(transport.selectedCandidatePairId);
  const closed = new Promise((resolve) => channel.addEventListener("close", resolve, { once: true }));
  channel.close();
  await closed;
  const hasNames = /^a=candidate.*\.local /m.test(connection.localDescription.sdp);
  return { milliseconds, candidate: stats.get(localCandidateId).candidateType, has_names: hasNames };
};

/** Runs in a page. What its peer has sent and requested so far. */
const COUNT = () => {
  const { sent, fetched } = peer.client;
  return { messages: sent.length, bytes: sent.reduce((sum, { bytes }) => sum + bytes, 0), fetched };
};

const [url, count, candidates, policy] = process.argv.slice(2);
const flags = candidates === "addresses" ? [WITH_ADDRESSES] : [];
const browsers = await Promise.all([startBrowser(...flags), startBrowser(...flags)]);
try {
  const pages = [];
  for (const browser of browsers) {
    const { page } = await Window.open(browser, { url });
    await page.evaluate(LAB, url);
    pages.push(page);
  }
  const [caller, called] = pages;
  await caller.evaluate(JOIN, ["caller", policy]);
  const record = await called.evaluate(JOIN, ["called", policy]);
  const channels = [];
  for (let number = 0; number < Number(count); number++) {
    channels.push(await caller.evaluate(CALL, record));
  }
  console.log(JSON.stringify({ channels, sides: await Promise.all(pages.map((page) => page.evaluate(COUNT))) }));
} finally {
  await Promise.all(browsers.map((browser) => browser.close()));
}
