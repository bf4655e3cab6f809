// A file that keeps a lease token across restarts, for Node, Deno and Bun.

import { checkWritable, read, replace } from "./private-file.js";

/**
 * A file with the lease token of one peer, as text, so that a restarted client can prove that it is the
 * holder. `save` creates it so that only its owner may read it (mode 0600). It is a token store for
 * `Client.keep`.
 */
export class TokenFile {
  #path;

  /** @param {string} path */
  constructor(path) {
    this.#path = path;
  }

  /**
   * Reads the token, and checks that the file can be written. Resolves to `undefined` if the file
   * does not exist. Rejects if the file cannot be read or written, or does not contain a token.
   * @returns {Promise<string | undefined>}
   */
  async load() {
    const text = await read(this.#path).catch((error) => this.#fail("cannot be read", error));
    if (text !== undefined && !/^[\x21-\x7e]{1,128}$/.test(text)) {
      this.#fail("does not contain a lease token", "remove it to start without one, or name another file");
    }
    await checkWritable(this.#path).catch((error) => this.#fail("cannot be written", error));
    return text;
  }

  /**
   * Replaces the file. When it resolves, the token survives a crash and a loss of power. A reader sees
   * the old token or the new one, never a part.
   * @param {string} token
   */
  async save(token) {
    await replace(this.#path, token).catch((error) => this.#fail("cannot be written", error));
  }

  /**
   * @param {string} problem
   * @param {unknown} cause
   * @returns {never}
   */
  #fail(problem, cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the token file ${this.#path} ${problem}: ${text}`, { cause });
  }
}
