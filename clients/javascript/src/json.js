// Parses responses, and keeps the metadata of peers as the text that they wrote: JavaScript's numbers
// would change the digits of large integers.

const SPACE = /[ \t\n\r]*/y;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
const SCALAR = /[^ \t\n\r,\]}]+/y;
const STRUCTURE = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g;

/**
 * The JSON object in `text`. Each peer with metadata in its lists gets a key `metadata_text`, with
 * the text of the metadata.
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} if `text` is not a JSON object, or a peer in its lists is not one
 */
export function parseResponse(text) {
  const value = parseObject(text);
  for (const [key, start] of members(text, skip(SPACE, text, 0))) {
    if (["peers", "joined", "changed"].includes(key) && Array.isArray(value[key])) {
      let index = 0;
      for (const at of elements(text, start)) {
        addMetadataText(value[key][index++], text, at);
      }
    }
  }
  return value;
}

/**
 * The peer in `text`, with a key `metadata_text` if it has metadata.
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} if `text` is not a JSON object
 */
export function parsePeer(text) {
  const peer = parseObject(text);
  addMetadataText(peer, text, skip(SPACE, text, 0));
  return peer;
}

/**
 * The JSON object in `text`, which a peer has signed. The object gets a key `metadata_text` with
 * the text of its metadata.
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} if `text` is not a JSON object, or if the object repeats a key. JSON
 *   parsers differ in which of the values of a repeated key they take.
 */
export function parseSigned(text) {
  const value = parseObject(text);
  const at = skip(SPACE, text, 0);
  if ([...members(text, at)].length !== Object.keys(value).length) {
    throw new SyntaxError("a repeated key");
  }
  value.metadata_text = "{}";
  addMetadataText(value, text, at);
  return value;
}

/** @param {string} text */
function parseObject(text) {
  const value = JSON.parse(text);
  if (!isObject(value)) {
    throw new SyntaxError("not a JSON object");
  }
  return value;
}

/**
 * @param {any} peer
 * @param {string} text
 * @param {number} at
 */
function addMetadataText(peer, text, at) {
  if (!isObject(peer)) {
    throw new SyntaxError("a peer that is not a JSON object");
  }
  for (const [key, start] of members(text, at)) {
    if (key === "metadata") {
      peer.metadata_text = text.slice(start, skipValue(text, start));
    }
  }
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// `JSON.parse` has already accepted the text, so the functions below do not check its syntax.

/**
 * The keys of the object at `at`, and where their values start.
 * @param {string} text
 * @param {number} at
 * @returns {Generator<[string, number]>}
 */
function* members(text, at) {
  at = skip(SPACE, text, at + 1);
  while (text[at] !== "}") {
    const end = skip(STRING, text, at);
    const start = skip(SPACE, text, skip(SPACE, text, end) + 1);
    yield [JSON.parse(text.slice(at, end)), start];
    at = next(text, start);
  }
}

/**
 * Where the elements of the array at `at` start.
 * @param {string} text
 * @param {number} at
 */
function* elements(text, at) {
  at = skip(SPACE, text, at + 1);
  while (text[at] !== "]") {
    yield at;
    at = next(text, at);
  }
}

/**
 * Where the element or key after the value at `at` starts, or the end of the container.
 * @param {string} text
 * @param {number} at
 */
function next(text, at) {
  const end = skip(SPACE, text, skipValue(text, at));
  return text[end] === "," ? skip(SPACE, text, end + 1) : end;
}

/**
 * The end of the value at `at`.
 * @param {string} text
 * @param {number} at
 */
function skipValue(text, at) {
  if (text[at] === '"') {
    return skip(STRING, text, at);
  }
  if (text[at] !== "{" && text[at] !== "[") {
    return skip(SCALAR, text, at);
  }
  let depth = 0;
  STRUCTURE.lastIndex = at;
  do {
    const found = STRUCTURE.exec(text);
    if (!found) {
      throw new SyntaxError("an unclosed value");
    }
    depth += { "{": 1, "[": 1, "}": -1, "]": -1 }[found[0]] ?? 0;
  } while (depth > 0);
  return STRUCTURE.lastIndex;
}

/**
 * @param {RegExp} pattern
 * @param {string} text
 * @param {number} at
 */
function skip(pattern, text, at) {
  pattern.lastIndex = at;
  if (!pattern.test(text)) {
    throw new SyntaxError(`unexpected text at ${at}`);
  }
  return pattern.lastIndex;
}
