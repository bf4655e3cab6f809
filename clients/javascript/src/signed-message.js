// Messages between peers, as senders sign and receivers verify them.

import { base64url } from "./encoding.js";
import { invalidRecord } from "./errors.js";
import { sign, verify } from "./jws.js";

const MESSAGE_TYPE = "aurora-mail+jws";
const WHAT = "the message";
// The maximum length of a message, in bytes. A message is ASCII.
const MAX_LENGTH = 4_096;
/** @type {Record<string, (value: unknown) => boolean>} The rule of each key, as the service applies it. */
const RULES = {
  from: matches(/^[\x21-\x7e]{1,128}$/),
  to: matches(/^[\x21-\x7e]{1,128}$/),
  sid: matches(/^[\x21-\x7e]{16,64}$/),
  iat: (value) => Number.isSafeInteger(value) && Number(value) >= 0,
  type: matches(/^[a-z]{1,16}$/),
  sdp: (value) => typeof value === "string",
};

/**
 * The content of a message. `sid` names the session that the message is part of: 16 to 64 visible
 * ASCII characters. Use a new one for each message that is not an answer, because the receiver gets
 * one message of each sender per `sid` within two minutes. `type` is the kind of message: 1 to 16
 * lowercase letters, such as `offer`. `sdp` is the session description. A message has at most
 * 4 KiB, so `sdp` can have about 2,500 bytes.
 * @typedef {{sid: string, type: string, sdp: string}} Message
 */

/** A message whose signature has been verified. */
export class SignedMessage {
  /**
   * @param {string} key
   * @param {any} payload
   */
  constructor(key, payload) {
    /** The key that signed, a `did:key`. */
    this.signed_by = key;
    /** @type {string} */
    this.from = payload.from;
    /** @type {string} */
    this.to = payload.to;
    /** @type {string} */
    this.sid = payload.sid;
    /** @type {string} */
    this.type = payload.type;
    /** @type {string} */
    this.sdp = payload.sdp;
    /** When it was signed, in seconds since the Unix epoch.
     * @type {number} */
    this.issued_at = payload.iat;
  }

  /** The id of a new session. */
  static newSession() {
    return base64url(crypto.getRandomValues(new Uint8Array(16)));
  }

  /**
   * Signs a message, for `Client.mail`.
   * @param {Message & {from: string, to: string}} message
   * @param {import("./secret-key.js").SecretKey} key
   * @param {number} [now] the time, in milliseconds since the Unix epoch
   * @returns {Promise<string>}
   */
  static async sign({ from, to, sid, type, sdp }, key, now = Date.now()) {
    const payload = { from, to, sid, iat: Math.floor(now / 1_000), type, sdp };
    return sign(JSON.stringify(payload), MESSAGE_TYPE, key);
  }

  /**
   * Verifies a message. Rejects with a DiscoveryError of the kind `invalid_record` if the signature is not
   * by the key that the message names, or if the service could not have accepted the message. The caller
   * has to compare `from`, `to`, `signed_by` and `issued_at` with what it expects.
   * @param {string} text
   */
  static async verify(text) {
    if (typeof text !== "string" || text.length > MAX_LENGTH) {
      throw invalidRecord("is not a text of at most 4096 bytes", WHAT);
    }
    const { key, payload } = await verify(text, MESSAGE_TYPE, WHAT);
    const broken = Object.keys(RULES).find((name) => !RULES[name](payload[name]));
    if (broken) {
      throw invalidRecord(`has a payload whose ${broken} breaks its rule`, WHAT);
    }
    return new SignedMessage(key, payload);
  }
}

/**
 * Returns the rule that a value is a text that matches a regular expression.
 * @param {RegExp} form
 */
function matches(form) {
  return (/** @type {unknown} */ value) => typeof value === "string" && form.test(value);
}
