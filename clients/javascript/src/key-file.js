// A file that contains the private key of a peer, for Node, Deno and Bun.

import { createNew, isReadableByOthers, read } from "./private-file.js";
import { SecretKey } from "./secret-key.js";

/**
 * A file with the private key of one peer, as a JSON Web Key. `create` makes it so that only its
 * owner may read it (mode 0600). The command `aurora-discovery` and the clients for other languages
 * can read the file too.
 */
export class KeyFile {
  #path;

  /** @param {string} path */
  constructor(path) {
    this.#path = path;
  }

  /**
   * Reads the key. Resolves to `undefined` if the file does not exist. Rejects if the file
   * cannot be read, does not contain a private key of Ed25519, or other users may read it.
   * @returns {Promise<SecretKey | undefined>}
   */
  async read() {
    const text = await read(this.#path).catch((error) => this.#fail("cannot be read", error));
    if (text === undefined) {
      return undefined;
    }
    if (await isReadableByOthers(this.#path)) {
      this.#fail("can be read by other users", "run chmod 600 on it");
    }
    return SecretKey.fromJwk(text).catch((error) => this.#fail("is not a key file", error));
  }

  /**
   * Makes a new key and writes it to the file, which must not exist. Rejects if it exists, or cannot be
   * written.
   */
  async create() {
    const key = await SecretKey.generate({ extractable: true });
    const text = JSON.stringify(await key.toJwk());
    await createNew(this.#path, text).catch((error) => this.#fail("cannot be created", error));
    return key;
  }

  /** Reads the key, or makes one if the file does not exist. */
  async readOrCreate() {
    return (await this.read()) ?? this.create();
  }

  /**
   * @param {string} problem
   * @param {unknown} cause
   * @returns {never}
   */
  #fail(problem, cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the key file ${this.#path} ${problem}: ${text}`, { cause });
  }
}
