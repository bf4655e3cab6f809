// Tests of signed registrations that need no service.

import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";

import { SecretKey, SignedMessage, SignedRecord } from "@aurora-alliance/discovery";
import { KeyFile } from "@aurora-alliance/discovery/key-file";

// Records that other libraries have made, and in `ours` some that the Rust crate has made.
const vectors = JSON.parse(await readFile(process.env.VECTORS, "utf8"));
let directory;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "keys-"));
});

after(() => rm(directory, { recursive: true }));

for (const { name, jws, expected } of vectors.vectors) {
  // Whether the record is valid for a reader. The service accepts fewer records: it also refuses
  // those that are too old or for another service.
  const isReadable = ["accepted", "stale_signature"].includes(expected) || name === "another audience";
  test(`${name} is ${isReadable ? "verified" : "refused"}`, async () => {
    if (isReadable) {
      assert.equal((await SignedRecord.verify(jws)).peer_id, "alice");
    } else {
      await assert.rejects(SignedRecord.verify(jws), { kind: "invalid_record", isTransient: false });
    }
  });
}

test("a record has what was signed", async () => {
  const [first, second] = await Promise.all(vectors.ours.map(SignedRecord.verify));
  assert.equal(first.signed_by, vectors.key);
  assert.deepEqual([first.port, first.archetypes, first.seq], [9000, ["日本語"], 1_800_000_000_000]);
  assert.equal(first.metadata_text, '{ "version": 1.0 }');
  assert.deepEqual([second.audience, second.metadata_text], ["discovery.example", "{}"]);
});

test("a text that is no JWS is refused", async () => {
  const [good] = vectors.ours;
  for (const bad of ["", "a.b", `${good}.`, `${good}=`, `${good}A`, `${good.slice(0, -1)}B`, good.replaceAll(".", ".."), "é.é.é"]) {
    await assert.rejects(SignedRecord.verify(bad), { kind: "invalid_record" }, bad);
  }
});

test("a key is made once and then read", async () => {
  const path = join(directory, "alice.key");
  const file = new KeyFile(path);
  assert.equal(await file.read(), undefined);
  const { publicKey } = await file.readOrCreate();
  assert.equal((await file.readOrCreate()).publicKey, publicKey);
  await assert.rejects(file.create(), /cannot be created/);
  assert.equal((await file.read()).publicKey, publicKey);
  assert.deepEqual(await readdir(directory), ["alice.key"]);
  await chmod(path, 0o640);
  await assert.rejects(file.read(), /chmod 600/);
});

test("a message is verified by the key of its sender", async () => {
  const [key, other] = await Promise.all([SecretKey.generate(), SecretKey.generate()]);
  const message = { from: "alice", to: "bob", sid: "0123456789abcdef", type: "offer", sdp: "v=0\r\n" };
  const text = await SignedMessage.sign(message, key, 1_800_000_000_999);
  const expected = { ...message, signed_by: key.publicKey, issued_at: 1_800_000_000 };
  assert.deepEqual({ ...(await SignedMessage.verify(text)) }, expected);
  const parts = [text, await SignedMessage.sign({ ...message, sdp: "v=1" }, other)].map((jws) => jws.split("."));
  const refused = { kind: "invalid_record" };
  await assert.rejects(SignedMessage.verify([parts[0][0], parts[1][1], parts[0][2]].join(".")), refused);
  for (const name of Object.keys(message)) {
    await assert.rejects(SignedMessage.verify(await SignedMessage.sign({ ...message, [name]: 1 }, key)), refused, name);
  }
  await assert.rejects(SignedMessage.verify(vectors.ours[0]), refused);
});

test("a message that the service would refuse is refused", async () => {
  const key = await SecretKey.generate();
  const good = { from: "alice", to: "bob", sid: "0123456789abcdef", type: "offer", sdp: "v=0" };
  const refused = { kind: "invalid_record", message: /^the message / };
  for (const [name, values] of Object.entries({
    from: ["", "a b", "a".repeat(129)],
    to: ["b\n"],
    sid: ["0123456789abcde", "0123456789abcde ", "0".repeat(65)],
    type: ["", "Offer", "a".repeat(17)],
    sdp: ["x".repeat(4_096)],
  })) {
    for (const value of values) {
      await assert.rejects(SignedMessage.verify(await SignedMessage.sign({ ...good, [name]: value }, key)), refused, value);
    }
  }
  await assert.rejects(SignedMessage.verify(await SignedMessage.sign(good, key, -1_000)), refused);
  for (const text of [undefined, 7, "", "a.b", "a.b.c", vectors.ours[0]]) {
    await assert.rejects(SignedMessage.verify(text), refused);
  }
});

test("a file without a key is refused", async () => {
  const path = join(directory, "other.key");
  const [one, other] = await Promise.all([1, 2].map(async () => {
    const key = await SecretKey.generate({ extractable: true });
    return key.toJwk();
  }));
  for (const text of ["", "{}", "[]", JSON.stringify({ ...one, x: other.x })]) {
    await writeFile(path, text, { mode: 0o600 });
    await assert.rejects(new KeyFile(path).read(), /is not a key file/, text);
  }
});

test("a key is not extractable unless that is requested", async () => {
  const key = await SecretKey.generate();
  await assert.rejects(key.toJwk());
  assert.match(key.publicKey, /^did:key:z6Mk/);
});
