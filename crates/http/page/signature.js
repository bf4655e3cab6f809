// Verifies a signed registration in the browser, so that a reader need not trust the service.

import { SignedRecord } from "./client/signed-record.js";

/**
 * The result. `isValid` says whether the signature belongs to the key and the record contains what
 * the service lists. It is undefined if this browser cannot verify that. `mail` says whether the peer
 * has a mailbox.
 * @typedef {{isValid?: boolean, key?: string, mail?: boolean, text: string}} Verification
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
    const record = await SignedRecord.verify(peer.signed);
    const { signed_by: key, mail } = record;
    const difference = differs(record, peer);
    return difference
      ? { isValid: false, key, text: `The service lists another ${difference} than the one that was signed.` }
      : { isValid: true, key, mail, text: "Verified in this browser: the holder of the key has signed this registration." };
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotSupportedError") {
      return { text: "This browser does not support Ed25519." };
    }
    return { isValid: false, text: `Do not trust this peer: ${error instanceof Error ? error.message : error}.` };
  }
}

/**
 * The name of the first field that is listed differently than signed; `undefined` if there is none.
 * @param {SignedRecord} signed
 * @param {import("./client/types.js").Peer} listed
 */
function differs(signed, listed) {
  const isObserved = ["", "0.0.0.0", "::", undefined].includes(signed.address);
  const archetypes = [...new Set(signed.archetypes)];
  if (signed.peer_id !== listed.peer_id) {
    return "name";
  }
  if (!isObserved && signed.address !== listed.address) {
    return "address";
  }
  if (signed.port !== listed.port) {
    return "port";
  }
  if (JSON.stringify(archetypes) !== JSON.stringify(listed.archetypes)) {
    return "list of archetypes";
  }
  return (signed.metadata_text ?? "{}") === (listed.metadata_text ?? "{}") ? undefined : "metadata";
}
