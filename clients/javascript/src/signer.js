// Signs registrations.

import { base64url, utf8 } from "./encoding.js";
import { sign } from "./jws.js";
import { discoverKey, registerBody } from "./requests.js";
import { RECORD_TYPE, ROTATION_TYPE } from "./signed-record.js";

/**
 * The maximum number of times that one registration is signed. It is signed once more if the local
 * clock is wrong, and once more if the service has a later record of the peer than this client
 * knows.
 */
export const MAX_SIGNED = 3;

/**
 * If the signer's key is a new key of the peer, `replaces` is its old key, to which the name is
 * still locked. With `audience`, only the service of that name accepts the registrations. `token`
 * is the lease token of the peer, if it has one already.
 * @typedef {object} SignerOptions
 * @property {import("./secret-key.js").SecretKey} [replaces]
 * @property {string} [audience]
 * @property {string} [token]
 */

/**
 * Signs the registrations of one peer with its key. If the local clock is wrong, signs them with the time
 * of the service. Pass it to `Client.register`.
 */
export class Signer {
  #key;
  #replaces;
  #audience;
  #token;
  /** How far the clock of the service is ahead of the local one, in milliseconds. */
  #clockOffset = 0;
  #lastSeq = 0;

  /**
   * @param {import("./secret-key.js").SecretKey} key
   * @param {SignerOptions} [options]
   */
  constructor(key, { replaces, audience, token } = {}) {
    this.#key = key;
    this.#replaces = replaces;
    this.#audience = audience;
    this.#token = token ?? base64url(crypto.getRandomValues(new Uint8Array(16)));
  }

  /** The public key, as a `did:key`. */
  get publicKey() {
    return this.#key.publicKey;
  }

  /** The token with which the peer renews and deregisters. Only its hash is signed. */
  get token() {
    return this.#token;
  }

  /**
   * The time of the service in milliseconds since the Unix epoch. It is the local time until a refusal has
   * shown that the local clock is wrong.
   */
  now() {
    return Date.now() + this.#clockOffset;
  }

  /**
   * The JSON body of a signed registration.
   * @param {import("./types.js").RegisterRequest} request
   * @param {string} [nonce] a nonce of the service, to sign in place of the time
   */
  async body(request, nonce) {
    const now = this.now();
    const seq = Math.max(now, this.#lastSeq + 1);
    this.#lastSeq = seq;
    const statement = { peer_id: request.peer_id, key: this.publicKey, seq };
    const terms = {
      seq,
      ...(nonce === undefined ? { iat: Math.floor(now / 1_000) } : { nonce }),
      token_hash: base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(this.#token)))),
      aud: this.#audience,
      replaces: this.#replaces && (await sign(JSON.stringify(statement), ROTATION_TYPE, this.#replaces)),
    };
    const registration = registerBody({
      ...request,
      lease_token: undefined,
      token_only: undefined,
      discover: undefined,
    });
    const payload = `${registration.slice(0, -1)},${JSON.stringify(terms).slice(1)}`;
    const { lease_token, discover } = request;
    const signed = await sign(payload, RECORD_TYPE, this.#key);
    return JSON.stringify({ signed, lease_token, discover: discoverKey(discover) });
  }

  /**
   * Records that the service has accepted a registration. The old key is then replaced, so later
   * registrations do not mention it.
   */
  accepted() {
    this.#replaces = undefined;
  }

  /**
   * Adopts the sequence number or the time that a refusal contains. Returns whether it contained one, so
   * that the registration may succeed if it is signed again.
   * @param {import("./errors.js").DiscoveryError} error
   */
  learnsFrom({ code, seq, timestamp }) {
    if (code === "stale_record" && seq !== undefined) {
      this.#lastSeq = Math.max(this.#lastSeq, seq);
      return true;
    }
    if (code === "stale_signature" && timestamp !== undefined) {
      // The API writes UTC without a suffix.
      const now = Date.parse(`${timestamp}Z`);
      this.#clockOffset = now - Date.now();
      // A sequence number that was derived from the wrong clock may be too far ahead.
      this.#lastSeq = Math.min(this.#lastSeq, now);
      return true;
    }
    return false;
  }
}
