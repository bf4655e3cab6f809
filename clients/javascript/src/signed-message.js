// Messages between peers, as senders sign and receivers verify them.

import { base64url } from "./encoding.js";
import { invalidRecord } from "./errors.js";
import { sign, verify } from "./jws.js";

const MESSAGE_TYPE = "aurora-mail+jws";

/**
 * What a message says. `sid` names the session that it is part of, 16 to 64 characters, and `type` says
 * what it is: 1 to 16 lowercase letters, such as `offer`. A message has at most 4 KiB, of which `sdp` can
 * be about 2,500 bytes.
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
   * compares the names, the key and the time with what it expects.
   * @param {string} text
   */
  static async verify(text) {
    const { key, payload } = await verify(text, MESSAGE_TYPE);
    const texts = ["from", "to", "sid", "type", "sdp"];
    const broken = texts.find((name) => typeof payload[name] !== "string") ?? (Number.isInteger(payload.iat) ? undefined : "iat");
    if (broken) {
      throw invalidRecord(`has a payload whose ${broken} breaks its rule`);
    }
    return new SignedMessage(key, payload);
  }
}
