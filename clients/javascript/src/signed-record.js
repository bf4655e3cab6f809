// Signed registrations of peers, as readers verify them.

import { fromBase64url } from "./encoding.js";
import { invalidRecord } from "./errors.js";
import * as jws from "./jws.js";

export const RECORD_TYPE = "aurora-peer+jws";
export const ROTATION_TYPE = "aurora-rotation+jws";

/**
 * A signed registration whose signature has been verified. Its values are those that the peer itself has
 * signed. The other values of a listed peer come from the service.
 */
export class SignedRecord {
  /**
   * @param {string} text
   * @param {string} key
   * @param {any} payload
   * @param {string} [replaces]
   */
  constructor(text, key, payload, replaces) {
    /** The compact JWS, as the peer signed it. */
    this.text = text;
    /** The key that signed, a `did:key`. */
    this.signed_by = key;
    /** @type {string} */
    this.peer_id = payload.peer_id;
    /** The sequence number of this record. A later record of the same peer has a higher one.
     * @type {number} */
    this.seq = payload.seq;
    /** `undefined` if the service lists the address that it sees.
     * @type {string | undefined} */
    this.address = payload.address ?? undefined;
    /** @type {number} */
    this.port = payload.port ?? 0;
    /** @type {string[]} */
    this.archetypes = payload.archetypes ?? [];
    /** @type {Record<string, any>} */
    this.metadata = payload.metadata ?? {};
    /** The metadata as the peer wrote it, with every digit.
     * @type {string} */
    this.metadata_text = payload.metadata_text;
    /** Whether the peer has a mailbox, so that others can open a channel to it. */
    this.mail = payload.mail === true;
    /** When the record was signed, by the clock of the peer, in seconds since the Unix epoch. `undefined`
     * if the peer has signed a nonce of the service instead, because its clock was wrong.
     * @type {number | undefined} */
    this.issued_at = payload.iat ?? undefined;
    /** The service that the record is for, if it names one.
     * @type {string | undefined} */
    this.audience = payload.aud ?? undefined;
    /** The old key that `signed_by` replaces. It has signed the replacement. */
    this.replaces = replaces;
  }

  /**
   * Verifies a record, such as `peer.signed` of the full view. Rejects with a DiscoveryError of the kind
   * `invalid_record` if the signature is not by the key that the record names, or if the service could
   * not have accepted the record.
   * @param {string} text
   */
  static async verify(text) {
    const { key, payload } = await jws.verify(text, RECORD_TYPE);
    check(payload);
    const replaces = isGiven(payload.replaces) ? await oldKey(payload.replaces, payload, key) : undefined;
    return new SignedRecord(text, key, payload, replaces);
  }
}

/** @param {any} payload */
function check(payload) {
  const { peer_id, seq, address, port, archetypes, metadata, iat, nonce, token_hash, aud, replaces } = payload;
  const isText = (/** @type {unknown} */ value) => typeof value === "string";
  const isAbsentOr = (/** @type {(value: any) => boolean} */ holds, /** @type {any} */ value) =>
    !isGiven(value) || holds(value);
  const rules = {
    lease_token: !("lease_token" in payload),
    peer_id: isText(peer_id) && /^[\x21-\x7e]{1,128}$/.test(peer_id),
    seq: isInteger(seq, Number.MAX_SAFE_INTEGER),
    address: isAbsentOr(isText, address),
    port: isAbsentOr((value) => isInteger(value, 65_535), port),
    archetypes: isAbsentOr((value) => Array.isArray(value) && value.every(isText), archetypes),
    metadata: isAbsentOr((value) => typeof value === "object" && !Array.isArray(value), metadata),
    iat: isGiven(iat) !== isGiven(nonce) && isAbsentOr((value) => isInteger(value, Number.MAX_SAFE_INTEGER), iat),
    nonce: isAbsentOr(isText, nonce),
    token_hash: isHash(token_hash),
    aud: isAbsentOr(isText, aud),
    replaces: isAbsentOr(isText, replaces),
  };
  const broken = Object.entries(rules).find(([, holds]) => !holds);
  if (broken) {
    throw invalidRecord(`has a payload whose ${broken[0]} breaks its rule`);
  }
}

/** @param {unknown} value */
function isGiven(value) {
  return value !== undefined && value !== null;
}

/**
 * @param {unknown} value
 * @param {number} highest
 */
function isInteger(value, highest) {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= highest;
}

/** @param {unknown} value */
function isHash(value) {
  try {
    return fromBase64url(value).length === 32;
  } catch {
    return false;
  }
}

/**
 * Verifies a statement of an old key, which says that `newKey` replaces it in this record. Returns
 * the old key. Rejects if the signature is wrong, or if the statement is for another record.
 * @param {string} text
 * @param {any} record
 * @param {string} newKey
 */
async function oldKey(text, record, newKey) {
  const { key, payload } = await jws.verify(text, ROTATION_TYPE);
  if (payload.peer_id !== record.peer_id || payload.key !== newKey || payload.seq !== record.seq) {
    throw invalidRecord("replaces a key by a statement for another record");
  }
  return key;
}
