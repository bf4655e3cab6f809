// base64url without padding, as JWS writes it.

/** @param {Uint8Array} bytes */
export function base64url(bytes) {
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * The bytes of a text.
 * @param {unknown} text
 * @throws {SyntaxError} for a text that `base64url` would not write. Each sequence of bytes
 *   therefore has exactly one valid text.
 */
export function fromBase64url(text) {
  if (typeof text === "string" && /^[\w-]*$/.test(text) && text.length % 4 !== 1) {
    const decoded = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(decoded, (character) => character.charCodeAt(0));
    if (base64url(bytes) === text) {
      return bytes;
    }
  }
  throw new SyntaxError("not base64url without padding");
}

/** @param {string} text */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/**
 * @param {Uint8Array} bytes
 * @throws {TypeError} if they are not UTF-8
 */
export function fromUtf8(bytes) {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}
