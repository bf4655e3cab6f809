// A file that keeps a lease token across restarts, for Node, Deno and Bun.

import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";

// A token and white space around it are shorter.
const MAX_BYTES = 1_024;

/**
 * A file with the lease token of one peer, as text, so that a restarted client can prove that it is the
 * holder. Only its owner may read it (mode 0600). It is a token store for `Client.keep`.
 */
export class TokenFile {
  #path;

  /** @param {string} path */
  constructor(path) {
    this.#path = path;
  }

  /**
   * Reads the token, and checks that the file can be written. A file that does not exist has none.
   * @returns {Promise<string | undefined>}
   */
  async load() {
    const token = await this.#read();
    try {
      await this.#create("");
      await rm(this.#newPath);
    } catch (error) {
      throw this.#error("cannot be written", error);
    }
    return token;
  }

  /**
   * Replaces the file. When it resolves, the token survives a crash and a loss of power, and at no time
   * does the file contain a part of a token.
   * @param {string} token
   */
  async save(token) {
    try {
      await this.#create(`${token}\n`);
      await rename(this.#newPath, this.#path);
      await this.#syncDirectory();
    } catch (error) {
      // The error matters more than the file that may be left behind.
      await rm(this.#newPath, { force: true }).catch(() => {});
      throw this.#error("cannot be written", error);
    }
  }

  async #read() {
    let text;
    try {
      const { size } = await stat(this.#path);
      text = size <= MAX_BYTES ? (await readFile(this.#path, "utf8")).trim() : "";
    } catch (error) {
      if (/** @type {any} */ (error).code === "ENOENT") {
        return undefined;
      }
      throw this.#error("cannot be read", error);
    }
    if (!/^[\x21-\x7e]{1,128}$/.test(text)) {
      throw this.#error("does not contain a lease token", "remove it to start without one, or name another file");
    }
    return text;
  }

  /** The file that is renamed when it is complete. A rename is atomic only within a file system. */
  get #newPath() {
    return `${this.#path}.new`;
  }

  /**
   * Creates and syncs a file. It must not exist yet, so that no other user can prepare a file or a link
   * at its path.
   * @param {string} text
   */
  async #create(text) {
    // A crash may have left one behind.
    await rm(this.#newPath, { force: true });
    const file = await open(this.#newPath, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Makes the rename survive a loss of power. */
  async #syncDirectory() {
    let directory;
    try {
      directory = await open(dirname(this.#path), "r");
    } catch {
      // Some systems cannot open a directory as a file.
      return;
    }
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  /**
   * @param {string} problem
   * @param {unknown} cause
   */
  #error(problem, cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    return new Error(`the token file ${this.#path} ${problem}: ${text}`, { cause });
  }
}
