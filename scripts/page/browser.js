// Starts Chromium, opens the page in it, and makes the checks that every case needs.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--no-proxy-server",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/google-chrome"];
// The time limit of every wait, long enough for a loaded machine.
const TIMEOUT_SECONDS = 60;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/** Starts the browser with an empty profile. */
export function startBrowser(...more) {
  const executablePath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
  return chromium.launch({ executablePath, args: [...ARGUMENTS, ...more], timeout: TIMEOUT_SECONDS * 1_000 });
}

/** The page of a service, in a window of its own. */
export class Window {
  /** The exceptions, errors and warnings of the page. */
  problems = [];
  /** The URLs of all requests. */
  requested = [];
  /** The bytes of the files of the page, with their headers, as they were sent. */
  fileBytes = 0;
  #files = new Set();
  #session;

  static async open(browser, service, { dark = false, phone = false, prepare = undefined } = {}) {
    const window = new Window();
    window.context = await browser.newContext({
      viewport: phone ? PHONE : DESKTOP,
      deviceScaleFactor: phone ? 2 : 1,
      colorScheme: dark ? "dark" : "light",
      hasTouch: phone,
      // A case copies a command and reads it from the clipboard.
      permissions: ["clipboard-read", "clipboard-write"],
    });
    window.context.setDefaultTimeout(TIMEOUT_SECONDS * 1_000);
    window.page = await window.context.newPage();
    await window.#observe(service);
    await prepare?.(window.page);
    await window.page.goto(service.url);
    return window;
  }

  close() {
    return this.context.close();
  }

  /** Waits until an expression of the page is true. */
  until(expression, argument) {
    return this.page.waitForFunction(expression, argument, { polling: 100 });
  }

  untilText(selector, text) {
    return this.until(([found, part]) => document.querySelector(found)?.textContent.includes(part), [selector, text]);
  }

  /** Registers this browser as a peer. */
  async join(id) {
    await this.untilText("#status", "Live");
    await this.page.fill("#peer-id", id);
    await this.page.click("#join-button");
    await this.untilText("#join-status", `Registered as ${id}`);
  }

  /** Sends a line on the only channel. */
  async say(line) {
    await this.page.fill("#channels input", line);
    await this.page.press("#channels input", "Enter");
  }

  /** The violations of accessibility rules that axe finds. */
  async violations() {
    const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    // The content security policy of the page does not apply to scripts that the browser's driver
    // evaluates.
    await this.page.evaluate(axe);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary}`));
  }

  /** The milliseconds until the first content was painted. */
  firstPaint() {
    return this.page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
  }

  /** The mean number of frames per second during the next `milliseconds`. */
  frames(milliseconds) {
    return this.page.evaluate(
      (duration) =>
        new Promise((resolve) => {
          const started = performance.now();
          let frames = 0;
          const count = () => {
            frames += 1;
            const elapsed = performance.now() - started;
            return elapsed < duration ? requestAnimationFrame(count) : resolve((frames * 1_000) / elapsed);
          };
          requestAnimationFrame(count);
        }),
      milliseconds,
    );
  }

  /** The browser's measurements of the page, such as the size of its objects. */
  async metrics() {
    await this.#session.send("HeapProfiler.collectGarbage");
    await this.#session.send("Performance.enable");
    const { metrics } = await this.#session.send("Performance.getMetrics");
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  }

  async #observe(service) {
    const { page } = this;
    page.on("pageerror", (error) => this.problems.push(`an exception: ${error.stack ?? error}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) {
        this.problems.push(`${message.type()} in the console: ${message.text()} (${message.location().url})`);
      }
    });
    const session = await this.context.newCDPSession(page);
    this.#session = session;
    await session.send("Network.enable");
    session.on("Network.requestWillBeSent", ({ requestId, request }) => {
      this.requested.push(request.url);
      const path = new URL(request.url).pathname;
      if (path === "/" || path.startsWith("/page/")) {
        this.#files.add(requestId);
      }
    });
    session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
      if (this.#files.has(requestId)) {
        this.fileBytes += encodedDataLength;
      }
    });
    this.isOwn = (url) => url.startsWith(`${service.url}/`);
  }
}
