// Checks of channels between browsers: between two windows of the page, with messages that a
// dishonest service or peer has changed, with receivers that fetch their mail late or never, and
// across restarts of the service.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { HOSTILE, binary, expect, figures, inWindow, noViolations, picture } from "./harness.js";
import { LAB } from "./lab.js";
import { Service } from "./service.js";

/**
 * Runs in a page. Tries to open channels, each between two peers of its own. All attempts run at
 * the same time, because one that fails takes 30 s. Returns how each attempt ended, and how many
 * channels the called peer got.
 */
const MAKE_HOSTILE_ATTEMPTS = async () => {
  const { changed, swapped, SecretKey } = lab;
  const thief = await SecretKey.generate();
  const unchanged = () => ({});
  // WebRTC ignores the added line, so only the signature shows that the message was changed.
  const harmless = ({ sdp }) => ({ sdp: `${sdp}a=changed\r\n` });
  const attempts = {
    plain: {},
    "answer by another key": { back: (mail) => [changed(mail, unchanged, thief)] },
    "answer that was changed": { back: (mail) => [changed(mail, harmless)] },
    "answer that was changed by the right key": { back: (mail, key) => [changed(mail, harmless, key)] },
    "answer with a swapped fingerprint": { back: (mail) => [changed(mail, swapped)] },
    "answer with a swapped fingerprint by the right key": { back: (mail, key) => [changed(mail, swapped, key)] },
    "answers by others before the right one": {
      back: (mail) => [changed(mail, swapped, thief), changed(mail, swapped), mail],
    },
    "offer by another key": { there: (mail) => [changed(mail, unchanged, thief)] },
    "offer that was changed": { there: (mail) => [changed(mail, harmless)] },
    "offer with a swapped fingerprint by the right key": { there: (mail, key) => [changed(mail, swapped, key)] },
    "offer to another peer": { there: (mail, key) => [changed(mail, () => ({ to: "another" }), key)] },
    "offer of another peer": { there: (mail, key) => [changed(mail, () => ({ from: "another" }), key)] },
    "offer of six minutes ago": { there: (mail, key) => [changed(mail, ({ iat }) => ({ iat: iat - 360 }), key)] },
    "offer that is repeated": { there: (mail) => [mail, mail] },
  };
  const run = async ([name, { there, back }], number) => {
    const [caller, called] = await Promise.all([lab.join(`caller-${number}`), lab.join(`called-${number}`)]);
    const accepts = ({ signed_by }) => signed_by === caller.key.publicKey;
    called.client.handOn = async (mail) => (there ? Promise.all(there(mail, caller.key)) : [mail]);
    caller.client.handOn = async (mail) => (back ? Promise.all(back(mail, called.key)) : [mail]);
    called.receive({ accepts });
    return [name, { called, result: await caller.receive().call(called) }];
  };
  const ended = await Promise.all(Object.entries(attempts).map(run));
  return Object.fromEntries(ended.map(([name, { called, result }]) => [name, `${result}, ${called.callers.length}`]));
};
const HOSTILE_RESULTS = {
  plain: "open, 1",
  "answer by another key": "TimeoutError, 0",
  "answer that was changed": "TimeoutError, 0",
  "answer that was changed by the right key": "open, 1",
  "answer with a swapped fingerprint": "TimeoutError, 0",
  "answer with a swapped fingerprint by the right key": "TimeoutError, 0",
  "answers by others before the right one": "open, 1",
  "offer by another key": "TimeoutError, 0",
  "offer that was changed": "TimeoutError, 0",
  "offer with a swapped fingerprint by the right key": "TimeoutError, 0",
  "offer to another peer": "TimeoutError, 0",
  "offer of another peer": "TimeoutError, 0",
  "offer of six minutes ago": "TimeoutError, 0",
  "offer that is repeated": "open, 1",
};

/** Runs in a page. Calls peers whose records are wrong. */
const CALL_FORGED_RECORDS = async () => {
  const [caller, other] = await Promise.all([lab.join("caller-of-forged"), lab.join("other")]);
  const victim = (await lab.join("victim")).receive();
  caller.receive();
  const listed = await victim.listed();
  const swapped = { peer_id: "victim", signed: await lab.recordBySomebodyElse("victim") };
  return {
    "record of another name": await caller.call({ ...listed, signed: (await other.listed()).signed }),
    "record by another key": await caller.call(swapped),
    "no record": await caller.call({ peer_id: "victim" }),
  };
};
const FORGED_RESULTS = {
  "record of another name": "TypeError",
  "record by another key": "TimeoutError",
  "no record": "invalid_record",
};

/** Runs in a page. Calls peers that fetch their mail late or never, or whose mailbox is full. */
const CALL_ABSENT_PEERS = async () => {
  const results = {};
  const late = async () => {
    const [caller, called] = await Promise.all([lab.join("caller-of-late"), lab.join("late")]);
    const calling = caller.receive().call(called);
    await caller.client.hasSent(1);
    called.receive();
    results.late = `${await calling}, ${await called.calledBy(1)}`;
  };
  const full = async () => {
    // Without retries, a refusal is final.
    const [caller, called] = await Promise.all([lab.join("caller-of-full", { retries: 0 }), lab.join("full")]);
    const first = [caller.receive().call(called), caller.call(called)];
    await caller.client.hasSent(2);
    results["mailbox with two of the sender"] = await caller.call(called);
    called.receive();
    results["first two, which are fetched then"] = `${await Promise.all(first)}`;
  };
  const absent = async () => {
    const [caller, left, unlisted] = await Promise.all([
      lab.join("caller-of-absent"),
      lab.join("left"),
      lab.join("without-mailbox", { mail: false }),
    ]);
    const record = await left.listed();
    await left.keeper.stop();
    results["peer that has left"] = await caller.receive().call(record);
    results["peer without a mailbox"] = await caller.call(unlisted);
  };
  const expired = async () => {
    const [caller, called] = await Promise.all([lab.join("caller-of-silent"), lab.join("silent")]);
    const calling = caller.receive().call(called);
    await caller.client.hasSent(1);
    results["its messages"] = (await called.waiting()).length;
    results["peer that does not fetch"] = await calling;
    while ((await called.waiting()).length > 0) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    called.receive();
    const second = (await lab.join("second-caller")).receive();
    results["peer that fetches once they have expired"] = `${await second.call(called)}, ${await called.calledBy(1)}`;
  };
  await Promise.all([late(), full(), absent(), expired()]);
  return results;
};
const ABSENT_RESULTS = {
  late: "open, caller-of-late",
  "mailbox with two of the sender": "mailbox_full",
  "first two, which are fetched then": "open,open",
  "peer that has left": "peer_not_registered",
  "peer without a mailbox": "no_mailbox",
  "peer that does not fetch": "TimeoutError",
  "its messages": 1,
  "peer that fetches once they have expired": "open, second-caller",
};

/** Runs in a page in which `restart` restarts the service. */
const CALL_ACROSS_RESTARTS = async () => {
  const [caller, called] = await Promise.all([lab.join("alice"), lab.join("bob")]);
  const [record, results] = [await called.listed(), {}];
  let isFirst = true;
  const restartOnce = async () => {
    if (isFirst) {
      isFirst = false;
      await restart();
    }
    return true;
  };
  called.receive({ accepts: restartOnce });
  results["between offer and answer"] = await caller.receive().call(record);
  await called.calledBy(1);
  called.connections.close();
  const sent = caller.client.sent.length;
  const calling = caller.call(record);
  await caller.client.hasSent(sent + 1);
  await restart();
  called.receive();
  results["before the offer is fetched"] = await calling;
  return { ...results, callers: await called.calledBy(2) };
};
const RESTART_RESULTS = {
  "between offer and answer": "open",
  "before the offer is fetched": "open",
  callers: "alice,alice",
};

/** Runs a function in a page with a lab, and compares what it returns. */
async function tryIn(browser, service, expected, run, { prepare, results }) {
  await inWindow(browser, service, { prepare, expected }, async (window, page) => {
    await window.untilText("#status", "Live");
    await page.evaluate(LAB, service.url);
    const found = await page.evaluate(run);
    for (const name of new Set([...Object.keys(results), ...Object.keys(found)])) {
      expect(found[name] === results[name], `${name}: ${found[name]} in place of ${results[name]}`);
    }
  });
}

export const channelCases = {
  async "two windows open a channel and exchange a line"(browser, service) {
    await inWindow(browser, service, {}, async (alice, page) => {
      await alice.join("alice");
      await inWindow(browser, service, {}, async (bob) => {
        await bob.join("bob");
        await alice.untilText("#rows", "bob");
        const started = performance.now();
        await page.locator("#rows button", { hasText: "bob" }).click();
        await page.getByRole("button", { name: "Open a channel" }).click();
        await alice.untilText("#channels", "bob has accepted this channel");
        figures.channel_ms = Math.round(performance.now() - started);
        await bob.untilText("#channels", "alice has opened this channel");
        await alice.say("Good day, Bob.");
        await bob.untilText("#channels", "alice: Good day, Bob.");
        await bob.say(HOSTILE);
        await alice.untilText("#channels", "bob: <img src=x");
        expect((await page.title()) === "Aurora Discovery", "a script of a peer ran");
        await noViolations(alice, "a page with a channel");
        await picture(alice, "page-channel");
        await bob.page.click("#channels button:has-text('Close')");
        await alice.untilText("#channels", "The channel is closed.");
      });
    });
  },

  // The parts run at the same time, because they mostly wait.
  async "a channel needs the peer that signed, and a receiver that comes in time"(browser, service) {
    const refusals = /status of (404|409|429)/;
    await Promise.all([
      tryIn(browser, service, refusals, MAKE_HOSTILE_ATTEMPTS, { results: HOSTILE_RESULTS }),
      tryIn(browser, service, refusals, CALL_FORGED_RECORDS, { results: FORGED_RESULTS }),
      tryIn(browser, service, refusals, CALL_ABSENT_PEERS, { results: ABSENT_RESULTS }),
    ]);
  },

  async "a restart of the service between two messages loses no channel"(browser) {
    const directory = mkdtempSync(join(tmpdir(), "aurora-page-"));
    const service = await Service.start(binary, "--data", directory);
    try {
      const prepare = (page) => page.exposeFunction("restart", () => service.restart());
      const expected = /ERR_|status of 50/;
      await tryIn(browser, service, expected, CALL_ACROSS_RESTARTS, { prepare, results: RESTART_RESULTS });
    } finally {
      service.stop();
      rmSync(directory, { recursive: true });
    }
  },
};
