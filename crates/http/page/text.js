// Formats text from peers, and numbers, for display.

const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/**
 * `text`, in which every character that is invisible or could reorder the line is escaped as `\u{…}`.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(UNSAFE, escaped);
}

/**
 * The same for text with several lines.
 * @param {string} text
 */
export function visibleLines(text) {
  return text.replace(UNSAFE, (character) => (character === "\n" ? character : escaped(character)));
}

/** @param {string} character */
function escaped(character) {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`;
}

/** @param {number} value */
export function number(value) {
  return value.toLocaleString("en");
}

/**
 * A rate or a count with at most one decimal.
 * @param {number} value
 */
export function figure(value) {
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

/**
 * A duration such as `42 s` or `3 min`.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 120) {
    return `${Math.round(seconds)} s`;
  }
  if (seconds < 7_200) {
    return `${Math.round(seconds / 60)} min`;
  }
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/**
 * The rest of a lease, such as `42 s` or `4:07 min`.
 * @param {number} seconds
 */
export function countdown(seconds) {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}

/**
 * The address and the port of a peer.
 * @param {import("./client/types.js").Peer} peer
 */
export function contact({ address, port }) {
  if (port === 0) {
    return `${visible(address)}, accepts no connections`;
  }
  return address.includes(":") ? `[${visible(address)}]:${port}` : `${visible(address)}:${port}`;
}
