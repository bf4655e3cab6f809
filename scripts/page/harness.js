// What the checks of the page share: their options, what they found, and the checks that hold in every
// case.

import { join } from "node:path";
import { parseArgs } from "node:util";

import { Window } from "./browser.js";

/** Text of a peer (an id, or a line that it sends) that the page must show as text only. */
export const HOSTILE = '<img src=x onerror="document.title=\'broken\'">\u202e<b>x</b>';

export const { values: options } = parseArgs({
  options: { pictures: { type: "string" }, only: { type: "string" }, short: { type: "boolean" } },
});
export const binary = process.env.AURORA_DISCOVERY;
export const failures = [];
export const figures = {};

export function expect(condition, text) {
  if (!condition) {
    failures.push(text);
    console.error(`FAILED: ${text}`);
  }
}

/** Opens the page, runs a case in it, and checks what holds in every case. */
export async function inWindow(browser, service, settings, run) {
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

export async function picture(window, name) {
  if (options.pictures) {
    await window.page.waitForTimeout(2_500); // until the picture of the network no longer moves
    await window.page.screenshot({ path: join(options.pictures, `${name}.png`) });
  }
}

export async function noViolations(window, what) {
  const violations = await window.violations();
  expect(violations.length === 0, `axe on ${what}: ${violations.join("\n")}`);
}
