// The keys of signed registrations.

import { didKey } from "./did-key.js";
import { base64url, fromBase64url, utf8 } from "./encoding.js";

const RULE = "must be a private JSON Web Key of Ed25519 (kty OKP, with x and d)";

/**
 * An Ed25519 private key, which WebCrypto holds. A page can store `pair` in IndexedDB, and no
 * script can read the private key unless it was made extractable.
 */
export class SecretKey {
  #pair;
  #publicKey;

  /**
   * @param {CryptoKeyPair} pair
   * @param {string} publicKey
   */
  constructor(pair, publicKey) {
    this.#pair = pair;
    this.#publicKey = publicKey;
  }

  /**
   * Makes a new key. Only an extractable key can be exported with `toJwk`.
   * @param {{extractable?: boolean}} [options] not extractable by default
   */
  static async generate({ extractable = false } = {}) {
    const pair = await crypto.subtle.generateKey("Ed25519", extractable, ["sign", "verify"]);
    return SecretKey.fromPair(/** @type {CryptoKeyPair} */ (pair));
  }

  /**
   * The key of a pair that WebCrypto has made.
   * @param {CryptoKeyPair} pair
   */
  static async fromPair(pair) {
    const bytes = await crypto.subtle.exportKey("raw", pair.publicKey);
    return new SecretKey(pair, didKey(new Uint8Array(bytes)));
  }

  /**
   * Reads a private JSON Web Key of Ed25519 (RFC 8037).
   * @param {string | JsonWebKey} jwk
   * @throws {TypeError} if it is not such a key, or its public part belongs to another key
   */
  static async fromJwk(jwk) {
    try {
      const { kty, crv, x, d } = typeof jwk === "string" ? JSON.parse(jwk) : jwk;
      const bytes = fromBase64url(x);
      const [privateKey, publicKey] = await Promise.all([
        crypto.subtle.importKey("jwk", { kty, crv, x, d }, "Ed25519", true, ["sign"]),
        crypto.subtle.importKey("raw", bytes, "Ed25519", true, ["verify"]),
      ]);
      const key = await SecretKey.fromPair({ privateKey, publicKey });
      const message = utf8("whether both parts belong together");
      if (await crypto.subtle.verify("Ed25519", publicKey, await key.sign(message), message)) {
        return key;
      }
    } catch (error) {
      throw new TypeError(RULE, { cause: error });
    }
    throw new TypeError(RULE);
  }

  /** The public key, as a `did:key`. */
  get publicKey() {
    return this.#publicKey;
  }

  /** The keys as WebCrypto represents them. */
  get pair() {
    return this.#pair;
  }

  /**
   * The private key as a JSON Web Key (RFC 8037), which other libraries read. Rejects if it is not
   * extractable.
   * @returns {Promise<{kty: string, crv: string, x: string, d: string}>}
   */
  async toJwk() {
    const { d = "" } = await crypto.subtle.exportKey("jwk", this.#pair.privateKey);
    const bytes = await crypto.subtle.exportKey("raw", this.#pair.publicKey);
    return { kty: "OKP", crv: "Ed25519", x: base64url(new Uint8Array(bytes)), d };
  }

  /**
   * The signature of a message, 64 bytes.
   * @param {Uint8Array<ArrayBuffer>} message
   */
  async sign(message) {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.#pair.privateKey, message));
  }
}
