// `did:key`, the text of an Ed25519 public key.

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
// The DID method `key`, and `z`, which marks the text after it as base58btc.
const PREFIX = "did:key:z";
// The multicodec of an Ed25519 public key, as a varint.
const MULTICODEC = [0xed, 0x01];
const LENGTH = MULTICODEC.length + 32;

/**
 * The text of a public key of 32 bytes.
 * @param {Uint8Array} bytes
 */
export function didKey(bytes) {
  // The first byte is not zero, so the digits of the number represent all bytes.
  let number = [...MULTICODEC, ...bytes].reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  let digits = "";
  while (number > 0n) {
    digits = ALPHABET[Number(number % 58n)] + digits;
    number /= 58n;
  }
  return PREFIX + digits;
}

/**
 * The 32 bytes of a `did:key` of an Ed25519 key, or `undefined` if `text` is not one.
 * @param {unknown} text
 */
export function publicBytes(text) {
  // No valid text is longer. The limit bounds the time that decoding an invalid text takes.
  if (typeof text !== "string" || !text.startsWith(PREFIX) || text.length > PREFIX.length + 2 * LENGTH) {
    return undefined;
  }
  let number = 0n;
  for (const character of text.slice(PREFIX.length)) {
    number = number * 58n + BigInt(Math.max(ALPHABET.indexOf(character), 0));
  }
  const hex = number.toString(16).padStart(2 * LENGTH, "0");
  const bytes = Uint8Array.from({ length: 32 }, (_, index) => {
    const at = 2 * (MULTICODEC.length + index);
    return parseInt(hex.slice(at, at + 2), 16);
  });
  return didKey(bytes) === text ? bytes : undefined;
}
