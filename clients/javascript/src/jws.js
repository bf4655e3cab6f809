// Compact JWS (RFC 7515), restricted to what signed registrations and messages may use.

import { publicBytes } from "./did-key.js";
import { base64url, fromBase64url, fromUtf8, utf8 } from "./encoding.js";
import { invalidRecord } from "./errors.js";
import { parseSigned } from "./json.js";

// The prime of the field of Ed25519.
const P = 2n ** 255n - 19n;

/**
 * The JWS of a payload, of the type `typ`.
 * @param {string} payload
 * @param {string} typ
 * @param {import("./secret-key.js").SecretKey} key
 */
export async function sign(payload, typ, key) {
  const header = JSON.stringify({ alg: "Ed25519", typ, kid: key.publicKey });
  const signed = `${base64url(utf8(header))}.${base64url(utf8(payload))}`;
  return `${signed}.${base64url(await key.sign(utf8(signed)))}`;
}

/**
 * Verifies a JWS of the type `typ` by the key that its header names. Returns the key, and the payload.
 * Rejects with a DiscoveryError if it is malformed, has another type, or its signature is wrong.
 * @param {string} text
 * @param {string} typ
 * @param {string} [what] what the JWS is, for the message of an error
 */
export async function verify(text, typ, what) {
  const { header, payload, signature } = split(text, what);
  const key = publicKeyOf(header, typ, what);
  const signed = utf8(text.slice(0, text.lastIndexOf(".")));
  if (!(await verifies(key, signed, signature))) {
    throw invalidRecord("has a signature that is not by the key that its kid names", what);
  }
  return { key: /** @type {string} */ (header.kid), payload };
}

/**
 * @param {string} text
 * @param {string} [what]
 */
function split(text, what) {
  const parts = text.split(".");
  try {
    const [header, payload, signature] = parts.map(fromBase64url);
    if (parts.length === 3) {
      return { header: parseSigned(fromUtf8(header)), payload: parseSigned(fromUtf8(payload)), signature };
    }
  } catch (error) {
    throw invalidRecord(`is not a compact JWS of an object (${error})`, what);
  }
  throw invalidRecord("is not a compact JWS", what);
}

/**
 * @param {any} header
 * @param {string} typ
 * @param {string} [what]
 */
function publicKeyOf(header, typ, what) {
  if ("crit" in header) {
    throw invalidRecord("has crit in its header, and no extension is supported", what);
  }
  // RFC 9864 has replaced the name EdDSA by Ed25519, but older libraries still write EdDSA.
  if (header.alg !== "Ed25519" && header.alg !== "EdDSA") {
    throw invalidRecord("has another alg than Ed25519 in its header", what);
  }
  if (header.typ !== typ) {
    throw invalidRecord(`has another typ than ${typ} in its header`, what);
  }
  const bytes = publicBytes(header.kid);
  if (!bytes) {
    throw invalidRecord("has no kid in its header that is the did:key of an Ed25519 key", what);
  }
  return bytes;
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {Uint8Array<ArrayBuffer>} message
 * @param {Uint8Array<ArrayBuffer>} signature
 */
async function verifies(bytes, message, signature) {
  if (signature.length !== 64 || isOfSmallOrder(bytes) || isOfSmallOrder(signature.subarray(0, 32))) {
    return false;
  }
  try {
    const key = await crypto.subtle.importKey("raw", bytes, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, signature, message);
  } catch (error) {
    // Some platforms refuse to import bytes that are not a point of the curve.
    if (error instanceof DOMException && error.name === "DataError") {
      return false;
    }
    throw error;
  }
}

/**
 * Whether a point has small order, that is, eight times the point is the neutral element. With such a
 * key, one signature is valid for many messages. Not every platform refuses these keys.
 *
 * The y coordinates of these points are 0 (order 4), 1 and -1 (orders 1 and 2), and the roots of
 * d y^4 + 2 y^2 - 1 (order 8), with d = -121665/121666.
 * @param {Uint8Array} point
 */
function isOfSmallOrder(point) {
  const y = BigInt.asUintN(255, point.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n));
  return (y * (y ** 2n - 1n) * (121_666n * (2n * y ** 2n - 1n) - 121_665n * y ** 4n)) % P === 0n;
}
