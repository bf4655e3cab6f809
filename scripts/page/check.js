// Checks the page in Chromium against the built command. `scripts/check-page` runs it.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { Window, startBrowser } from "./browser.js";
import { Service, peer } from "./service.js";

const MAX_FILE_BYTES = 100_000;
// The period in which frames are counted, in milliseconds.
const FRAMES_FOR = 3_000;
const HOSTILE = '<img src=x onerror="document.title=\'broken\'">\u202e<b>x</b>';

const { values: options } = parseArgs({
  options: { pictures: { type: "string" }, only: { type: "string" }, help: { type: "boolean" } },
});
const binary = process.env.AURORA_DISCOVERY;
const failures = [];
const figures = {};

function expect(condition, text) {
  if (!condition) {
    failures.push(text);
    console.error(`FAILED: ${text}`);
  }
}

/** Opens the page, runs a case in it, and checks what holds in every case. */
async function inWindow(browser, service, settings, run) {
  const window = await Window.open(browser, service, settings);
  try {
    await run(window, window.page);
  } finally {
    const outside = window.requested.filter((url) => !window.isOwn(url));
    expect(outside.length === 0, `the page requested ${outside}`);
    const problems = window.problems.filter((problem) => !settings.expected?.test(problem));
    expect(problems.length === 0, `the page reported ${problems.join("\n")}`);
    await window.close();
  }
}

async function picture(window, name) {
  if (options.pictures) {
    await window.page.waitForTimeout(2_500); // until the picture of the network rests
    await window.page.screenshot({ path: join(options.pictures, `${name}.png`) });
  }
}

const noViolations = async (window, what) => {
  const violations = await window.violations();
  expect(violations.length === 0, `axe on ${what}: ${violations.join("\n")}`);
};

/**
 * Runs in a page. Tries to connect with forged records and repeated messages, as a dishonest service or
 * peer could send them. Returns the outcome of each attempt.
 */
const CONNECT_FORGED = async (url) => {
  const { Client } = await import("/page/client/client.js");
  const { SecretKey } = await import("/page/client/secret-key.js");
  const { Signer } = await import("/page/client/signer.js");
  const client = new Client(url);
  const join = async (peer_id, options = {}) => {
    const key = await SecretKey.generate();
    const keeper = client.keep({ peer_id, mail: true }, { key });
    let channels = 0;
    const connections = keeper.connections({ onConnection: () => (channels += 1), ...options });
    const listed = async () => (await client.discover({ view: "full", limit: 100 })).peers.find((peer) => peer.peer_id === peer_id);
    while (!(await listed())) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return { keeper, connections, listed: await listed(), channels: () => channels };
  };
  // The code of a DOMException is a number.
  const name = ({ code, name }) => (typeof code === "string" ? code : name);
  const [carol, dave, thief] = [await join("carol"), await join("dave"), await join("thief")];
  const outcome = {};
  // The service lists the record of another peer under dave's name.
  await thief.keeper.stop();
  const forged = { ...dave.listed, signed: thief.listed.signed };
  outcome.otherName = await carol.connections.connect(forged).catch(name);
  outcome.unknown = await carol.connections.connect(thief.listed).catch(name);
  // The service lists a record that another key has signed for dave's name. Dave's answer is signed by his
  // own key, so it must not be accepted.
  const { signed } = JSON.parse(await new Signer(await SecretKey.generate()).body({ peer_id: "dave", mail: true }));
  outcome.swapped = await carol.connections.connect({ peer_id: "dave", signed }).catch(name);
  // A message that the service delivers twice opens only one channel.
  const original = client.mailbox.bind(client);
  client.mailbox = async (...parameters) => {
    const response = await original(...parameters);
    return { ...response, mail: [...response.mail, ...response.mail] };
  };
  await carol.connections.connect(dave.listed);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  outcome.repeated = dave.channels();
  for (const { keeper, connections } of [carol, dave]) {
    connections.close();
    await keeper.stop();
  }
  return outcome;
};

const cases = {
  async "twelve peers are seen, searched and filtered"(browser, service) {
    await service.fill(12);
    await inWindow(browser, service, {}, async (window, page) => {
      await window.untilText("#count", "12 peers");
      await window.untilText("#tiles", "12Peers".slice(0, 2));
      await window.untilText("#status", "Live");
      expect((await page.locator("#rows tr").count()) === 12, "not all peers have a row");
      figures.first_paint_ms = Math.round(await window.firstPaint());
      figures.file_bytes = window.fileBytes;
      expect(window.fileBytes > 10_000 && window.fileBytes <= MAX_FILE_BYTES, `the page has ${window.fileBytes} bytes`);
      const painted = await page.evaluate(() => {
        const canvas = document.querySelector("#picture");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.filter((_, index) => index % 4 === 3 && data[index] > 0).length;
      });
      expect(painted > 500, `only ${painted} pixels are painted`);
      await noViolations(window, "the page");
      await picture(window, "page-light");

      await page.fill("#search", "QUILL");
      await window.untilText("#count", "1 found");
      expect((await page.locator("#rows tr").count()) === 1, "the search does not narrow the list");
      await page.fill("#search", "");
      const button = page.locator("#archetypes button").first();
      const expected = Number(await button.locator(".value").textContent());
      await button.click();
      await window.untilText("#count", `${expected} found`);
      expect((await button.getAttribute("aria-pressed")) === "true", "the filter is not shown as pressed");
      await button.click();
      await window.untilText("#count", "12 peers");
    });
  },

  async "peers join, leave and expire while one looks"(browser, service) {
    await inWindow(browser, service, {}, async (window) => {
      await window.untilText("#status", "Live");
      await window.untilText("#empty", "No peer");
      await service.register({ peer_id: "stays" });
      await service.register({ peer_id: "brief", ttl_seconds: 1 });
      await window.untilText("#events", "stays joined");
      await window.untilText("#events", "brief expired");
      await service.post("deregister", { peer_id: "stays" });
      await window.untilText("#events", "stays left");
      await window.untilText("#count", "0 peers");
    });
  },

  async "text of peers stays text"(browser, service) {
    await service.register({ peer_id: HOSTILE.slice(0, 43).replaceAll(" ", "/"), archetypes: ["<b>bold</b>"], metadata: { html: HOSTILE } });
    await inWindow(browser, service, {}, async (window, page) => {
      await window.untilText("#rows", "<b>bold</b>");
      await page.locator("#rows button").click();
      await window.untilText("#details", "\\u{202e}");
      const found = await page.evaluate(() => document.querySelectorAll("main b, dialog b, main section img, dialog img").length);
      expect(found === 0, "text of a peer became an element");
      expect((await page.title()) === "Aurora Discovery", "a script of a peer ran");
    });
  },

  async "a signature is verified in the browser"(browser, service) {
    const directory = mkdtempSync(join(tmpdir(), "aurora-page-"));
    try {
      const register = ["register", "signer", "--port", "9001", "--archetype", "chess", "--metadata", '{"n": 1.50}'];
      execFileSync(binary, [...register, "--key", join(directory, "key"), "--endpoint", service.url], { stdio: "ignore" });
    } finally {
      rmSync(directory, { recursive: true });
    }
    await inWindow(browser, service, {}, async (window, page) => {
      await window.untilText("#rows", "signed");
      await page.locator("#rows button").focus();
      await page.keyboard.press("Enter");
      await window.untilText("#details", "Verified in this browser");
      await noViolations(window, "the details");
      await picture(window, "page-details");
      await page.keyboard.press("Escape");
      await window.until(() => !document.querySelector("#details").open);
      expect(await page.evaluate(() => document.activeElement.textContent === "signer"), "the focus is lost");
    });
    for (const [key, value, text] of [
      ["port", 9_002, "lists another port"],
      ["metadata", { n: 2 }, "lists another metadata"],
      ["signed", undefined, "not by the key that its kid names"],
    ]) {
      const prepare = (page) =>
        page.route("**/discover*", async (route) => {
          const response = await route.fetch();
          const body = await response.json();
          for (const listed of body.peers) {
            // Changes a character within the signature. The last character is left alone, because some
            // of its bits are not part of the signature.
            const forged = () => listed.signed.slice(0, -20) + (listed.signed.at(-20) === "A" ? "B" : "A") + listed.signed.slice(-19);
            listed[key] = value ?? forged();
          }
          await route.fulfill({ response, json: body });
        });
      await inWindow(browser, service, { prepare }, async (window, page) => {
        await window.untilText("#rows", "signed");
        await page.locator("#rows button").click();
        await window.untilText("#details .invalid", text);
      });
    }
  },

  async "this browser joins, discovers others and leaves"(browser, service) {
    await service.fill(5);
    await inWindow(browser, service, { expected: /status of 400/ }, async (window, page) => {
      await window.untilText("#status", "Live");
      await page.fill("#peer-id", "two words");
      await page.fill("#join-archetypes", "chess, pepino");
      await page.click("#join-button");
      await window.untilText("#join-status", "peer_id must be 1 to 128 visible ASCII characters");
      expect((await page.getAttribute("#peer-id", "aria-invalid")) === "true", "the field is not marked");
      expect(await page.evaluate(() => document.activeElement.id === "peer-id"), "the field has no focus");
      await noViolations(window, "a refused form");

      await page.fill("#peer-id", "visitor");
      await page.fill("#metadata", '{"from": "a page"}');
      await page.click("#join-button");
      await window.untilText("#join-status", "Registered as visitor from 127.0.0.1");
      await window.untilText("#rows tr.own", "visitor");
      await window.until(() => document.querySelectorAll("#found li").length === 5);
      const { peers } = await (await fetch(`${service.url}/discover?archetype=chess`)).json();
      expect(peers.some(({ peer_id }) => peer_id === "visitor"), "the visitor is not listed");
      await page.click("#discover-button");
      await noViolations(window, "a page that has joined");
      await page.click("#leave-button");
      await window.untilText("#join-status", "Deregistered");
      await window.untilText("#events", "visitor left");
    });
  },

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

  async "a channel needs the peer that signed"(browser, service) {
    await inWindow(browser, service, { expected: /status of 404/ }, async (alice, page) => {
      await alice.join("alice");
      await inWindow(browser, service, {}, async (bob) => {
        await bob.join("bob");
        const outcome = await page.evaluate(CONNECT_FORGED, service.url);
        expect(outcome.swapped === "TimeoutError", `an answer of another key got ${outcome.swapped}`);
        expect(outcome.unknown === "peer_not_registered", `an offer to nobody got ${outcome.unknown}`);
        expect(outcome.otherName === "TypeError", `the record of another peer got ${outcome.otherName}`);
        expect(outcome.repeated === 1, `an offer that was sent twice opened ${outcome.repeated} channels`);
      });
    });
  },

  async "commands can be copied"(browser, service) {
    await inWindow(browser, service, {}, async (window, page) => {
      await page.locator("#commands .copy").first().click();
      await window.untilText("#commands .copy", "Copied");
      const copied = await page.evaluate(() => navigator.clipboard.readText());
      expect(copied === `aurora-discovery keep alice --port 9000 --archetype chess --endpoint ${service.url}`, copied);
    });
  },

  async "a service without changes to follow is polled"(browser, service) {
    const refusal = { error: "no change log is available", code: "not_available_here" };
    const prepare = (page) => page.route(/\/watch(\?|$)/, (route) => route.fulfill({ status: 501, json: refusal }));
    await service.register({ peer_id: "first" });
    await inWindow(browser, service, { prepare, expected: /status of 501/ }, async (window) => {
      await window.untilText("#status", "Polling");
      await window.untilText("#rows", "first");
      await service.register({ peer_id: "second" });
      await window.untilText("#events", "second joined");
      await service.post("deregister", { peer_id: "second" });
      await window.untilText("#events", "second left");
    });
  },

  async "a key is asked for where one is required"(browser, service) {
    const refusal = { error: "a key is required", code: "unauthorized" };
    const isOpen = (route) => route.request().headers().authorization === "Bearer secret";
    const prepare = (page) =>
      page.route(/\/(watch|discover|network)(\?|$)/, (route) =>
        isOpen(route) ? route.continue() : route.fulfill({ status: 401, json: refusal }),
      );
    await service.register({ peer_id: "hidden" });
    await inWindow(browser, service, { prepare, expected: /status of 401/ }, async (window, page) => {
      await window.untilText("#notice", "a key is required");
      await noViolations(window, "the request for a key");
      await page.fill("#key", "secret");
      await page.keyboard.press("Enter");
      await window.untilText("#rows", "hidden");
      await window.untilText("#status", "Live");
    });
  },

  async "a thousand peers move smoothly, light, dark and on a phone"(browser, service) {
    await service.fill(1_000);
    for (const [name, settings] of [
      ["page-1000-light", {}],
      ["page-1000-dark", { dark: true }],
      ["page-1000-phone", { dark: true, phone: true }],
    ]) {
      await inWindow(browser, service, settings, async (window, page) => {
        await window.untilText("#count", "peers");
        await window.until(() => Number(document.querySelector("#tiles dd")?.textContent.replace(",", "")) >= 1_000);
        await window.untilText("#count", await page.locator("#tiles dd").first().textContent());
        const joining = service.fill(1_000).then(() => service.register({ peer_id: `late-${name}` }));
        figures[`${name}_frames_per_second`] = Math.round(await window.frames(FRAMES_FOR));
        await joining;
        await window.untilText("#events", `late-${name}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(overflow <= 0, `${name} is ${overflow} pixels too wide`);
        await noViolations(window, name);
        await picture(window, name);
      });
    }
  },

  async "a large network is shown as a sample"(browser, service) {
    await service.fill(2_500);
    await inWindow(browser, service, {}, async (window, page) => {
      await window.untilText("#count", "a sample of 1,000 of 2,500 peers");
      await window.untilText("#caption", "random sample");
      await page.locator("#archetypes button").last().click();
      await window.untilText("#count", "found for archetype");
      await noViolations(window, "a sample");
    });
  },
};

const browser = await startBrowser();
const started = performance.now();
try {
  for (const [name, run] of Object.entries(cases)) {
    if (!name.includes(options.only ?? "")) {
      continue;
    }
    const service = await Service.start(binary, "--ttl-min", "1", "--max-peers-per-source", "0");
    try {
      await run(browser, service);
    } catch (error) {
      expect(false, `${name}: ${error.stack ?? error}`);
    } finally {
      service.stop();
    }
  }
} finally {
  await browser.close();
}
figures.seconds = Math.round((performance.now() - started) / 1_000);
for (const [name, value] of Object.entries(figures)) {
  console.log(`${name}: ${value}`);
}
console.log(failures.length === 0 ? "the page: ok" : `the page: ${failures.length} failures`);
process.exit(failures.length === 0 ? 0 : 1);
