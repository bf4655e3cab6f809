// A parser of server-sent events. The platform's `EventSource` is not used, because it hides the status
// of a response, and Node does not have it.

// The maximum length of an event, so that a stream without a complete event takes bounded memory. The
// largest registration takes less than a tenth of it.
const MAX_EVENT_LENGTH = 256 * 1024;

// A `\r` at the end may be the first half of `\r\n`, so it stays unread until the next chunk.
const LINE_END = /\r\n|\n|\r(?!$)/;

/**
 * The fields of one event, or of a block without an event, such as a comment with an `id`. `retry`
 * is in milliseconds.
 * @typedef {{event?: string, data: string, id?: string, retry?: number}} Frame
 */

/** Turns the text of a stream into frames. */
export class SseParser {
  #unread = "";
  #length = 0;
  /** @type {[string, string][]} */
  #fields = [];

  /**
   * The frames that `chunk` completes.
   * @param {string} chunk
   * @returns {Frame[]}
   * @throws {RangeError} if an event is too long
   */
  feed(chunk) {
    const frames = [];
    const lines = (this.#unread + chunk).split(LINE_END);
    this.#unread = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        frames.push(this.#frame());
        continue;
      }
      this.#length += line.length;
      const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? ["", "", ""];
      this.#fields.push([name, value]);
      this.#checkLength();
    }
    this.#checkLength();
    return frames;
  }

  #checkLength() {
    if (this.#length + this.#unread.length > MAX_EVENT_LENGTH) {
      throw new RangeError("an event of more than 256 KiB");
    }
  }

  /** @returns {Frame} */
  #frame() {
    const fields = this.#fields;
    this.#fields = [];
    this.#length = 0;
    const { event, id, retry } = Object.fromEntries(fields);
    const data = fields.filter(([name]) => name === "data").map(([, value]) => value);
    return { event, id, data: data.join("\n"), retry: /^\d+$/.test(retry) ? Number(retry) : undefined };
  }
}
