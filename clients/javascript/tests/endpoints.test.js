// How a client leaves an endpoint, and returns to the one that it started at. Scenarios cannot test
// the return, because it takes five minutes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "@aurora-alliance/discovery";

// The package does not export this module, so it is imported from the directory of the main module.
const { Endpoints } = await import(new URL("endpoints.js", import.meta.resolve("@aurora-alliance/discovery")));

const URLS = ["http://a.example", "http://b.example", "http://c.example"];

test("a client returns to its first endpoint within ten minutes", () => {
  let now = 0;
  const endpoints = new Endpoints(URLS, () => now);
  const first = endpoints.current;
  endpoints.leave(first);
  const second = endpoints.current;
  assert.notEqual(second, first);
  now = 299;
  assert.equal(endpoints.current, second);
  endpoints.leave(second);
  assert.ok(![first, second].includes(endpoints.current));
  now = 600;
  assert.equal(endpoints.current, first, "a further move does not postpone the return");
});

test("a return to a failing endpoint is repeated later", () => {
  let now = 0;
  const endpoints = new Endpoints(URLS.slice(0, 2), () => now);
  const first = endpoints.current;
  for (let round = 0; round < 3; round += 1) {
    endpoints.leave(first);
    assert.notEqual(endpoints.current, first);
    now += 600;
    assert.equal(endpoints.current, first);
  }
});

test("a client that only requests the health leaves an endpoint that fails", async () => {
  const used = [];
  const fetch = async (url) => {
    used.push(new URL(url).origin);
    if (used.length === 1) {
      throw new TypeError("fetch failed");
    }
    return Response.json({ status: "unhealthy" }, { status: 503 });
  };
  const client = new Client(URLS.slice(0, 2), { fetch });
  await assert.rejects(client.health(), { kind: "unreachable" });
  assert.equal((await client.health()).status, "unhealthy");
  assert.equal((await client.health()).status, "unhealthy");
  assert.notEqual(used[1], used[0]);
  assert.equal(used[2], used[1], "an unhealthy service has responded");
});
