// Checks the page in Chromium against the built command. `scripts/check-page` runs it.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { startBrowser } from "./browser.js";
import { channelCases } from "./channel-cases.js";
import { HOSTILE, binary, expect, failures, figures, inWindow, noViolations, options, picture } from "./harness.js";
import { Service } from "./service.js";

const MAX_FILE_BYTES = 100_000;
// The period in which frames are counted, in milliseconds.
const FRAMES_FOR = 3_000;
// The size of a network of which the page shows only a sample, and the number of peers that join
// while it does.
const MANY = options.short ? 10_000 : 100_000;
const MANY_JOIN = 1_000;
const MAX_HEAP_BYTES = 16e6;

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

  async "a very large network does not slow the page down"(browser) {
    const directory = mkdtempSync(join(tmpdir(), "aurora-page-"));
    const options = ["--max-peers-per-source", "0"];
    const service = await Service.startWith(binary, MANY, join(directory, "data"), ...options);
    try {
      await inWindow(browser, service, {}, async (window, page) => {
        const started = performance.now();
        await window.untilText("#count", `a sample of 1,000 of ${MANY.toLocaleString("en")} peers`);
        figures.many_shown_ms = Math.round(performance.now() - started);
        await window.untilText("#status", "Live");
        const joining = Promise.all(Array.from({ length: MANY_JOIN }, (_, number) => service.register({ peer_id: `late-${number}` })));
        figures.many_frames_per_second = Math.round(await window.frames(FRAMES_FOR));
        await joining;
        const counted = (count) => Number(document.querySelector("#tiles dd").textContent.replaceAll(",", "")) > count;
        await window.until(counted, MANY);
        const rows = await page.locator("#rows tr").count();
        expect(rows > 0 && rows <= 100, `the page has ${rows} rows`);
        await page.fill("#search", "quill");
        await window.untilText("#count", "found");
        const { JSHeapUsedSize: heap } = await window.metrics();
        figures.many_heap_mb = Math.round(heap / 1e6);
        expect(heap <= MAX_HEAP_BYTES, `the page uses ${heap} bytes`);
      });
    } finally {
      service.stop();
      rmSync(directory, { recursive: true });
    }
  },
};

const browser = await startBrowser();
const started = performance.now();
try {
  for (const [name, run] of Object.entries({ ...cases, ...channelCases })) {
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
