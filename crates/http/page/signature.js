// Verifies a signed registration in the browser, so that a reader need not trust the service.

import { parsePeer } from "./client/json.js";

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
// The multicodec prefix of an Ed25519 public key.
const ED25519 = [0xed, 0x01];
const KEY_BYTES = 32;

/**
 * The result: `isValid` if the signature belongs to the key and the record says what the service lists,
 * `isValid` undefined if this browser cannot tell.
 * @typedef {{isValid?: boolean, key?: string, text: string}} Verification
 */

/**
 * Verifies the record of a peer as the service lists it.
 * @param {import("./client/types.js").Peer & {signed: string}} peer in the full view
 * @returns {Promise<Verification>}
 */
export async function verify(peer) {
  if (!globalThis.crypto?.subtle) {
    return { text: "This browser verifies signatures only on pages from HTTPS or from this machine." };
  }
  try {
    const [head, body, signature, ...rest] = peer.signed.split(".");
    const { alg, typ, kid, crit } = JSON.parse(text(head));
    if (rest.length > 0 || !["Ed25519", "EdDSA"].includes(alg) || typ !== "aurora-peer+jws" || crit !== undefined) {
      return { isValid: false, text: "The record is not a signed registration." };
    }
    const key = await crypto.subtle.importKey("raw", publicKey(kid), "Ed25519", false, ["verify"]);
    const message = new TextEncoder().encode(`${head}.${body}`);
    if (!(await crypto.subtle.verify("Ed25519", key, bytes(signature), message))) {
      return { isValid: false, key: kid, text: "The signature is not by this key. Do not trust this peer." };
    }
    const difference = differs(parsePeer(text(body)), peer);
    if (difference) {
      return { isValid: false, key: kid, text: `The service lists another ${difference} than the one that was signed.` };
    }
    return { isValid: true, key: kid, text: "Verified in this browser: the holder of the key has signed this registration." };
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotSupportedError") {
      return { text: "This browser does not support Ed25519." };
    }
    return { isValid: false, text: "The record is malformed." };
  }
}

/**
 * The first key that is listed otherwise than signed.
 * @param {any} signed
 * @param {any} listed
 */
function differs(signed, listed) {
  const isObserved = ["", "0.0.0.0", "::", null, undefined].includes(signed.address);
  const archetypes = [...new Set(signed.archetypes ?? [])];
  if (signed.peer_id !== listed.peer_id) {
    return "name";
  }
  if (!isObserved && signed.address !== listed.address) {
    return "address";
  }
  if ((signed.port ?? 0) !== listed.port) {
    return "port";
  }
  if (JSON.stringify(archetypes) !== JSON.stringify(listed.archetypes)) {
    return "list of archetypes";
  }
  return (signed.metadata_text ?? "{}") === (listed.metadata_text ?? "{}") ? undefined : "metadata";
}

/**
 * The bytes of the key in a `did:key`.
 * @param {string} did
 */
function publicKey(did) {
  const encoded = /^did:key:z([1-9A-HJ-NP-Za-km-z]+)$/.exec(did)?.[1] ?? "";
  let value = 0n;
  for (const digit of encoded) {
    value = value * 58n + BigInt(BASE58.indexOf(digit));
  }
  const length = ED25519.length + KEY_BYTES;
  const hex = value.toString(16).padStart(2 * length, "0");
  const decoded = Uint8Array.from({ length: hex.length / 2 }, (_, index) => Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16));
  if (decoded.length !== length || decoded[0] !== ED25519[0] || decoded[1] !== ED25519[1]) {
    throw new TypeError("not the did:key of an Ed25519 key");
  }
  return decoded.slice(ED25519.length);
}

/** @param {string} base64url */
function bytes(base64url) {
  return Uint8Array.from(atob(base64url.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
}

/** @param {string} base64url */
function text(base64url) {
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes(base64url));
}
