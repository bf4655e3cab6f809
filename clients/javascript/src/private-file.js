// Files that only their owner may read (mode 0600), for Node, Deno and Bun.

import { link, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";

// Keys and tokens are shorter than this limit, in bytes. It keeps a wrong path from making the
// client read a large file.
const MAX_BYTES = 1_024;

/**
 * The text of a small file, or `undefined` if it does not exist. For a file that is too long, an empty
 * text, which is no valid key or token.
 * @param {string} path
 */
export async function read(path) {
  try {
    const file = await open(path);
    try {
      const bytes = new Uint8Array(MAX_BYTES + 1);
      const { bytesRead } = await file.read(bytes, 0, bytes.length);
      return bytesRead <= MAX_BYTES ? new TextDecoder().decode(bytes.subarray(0, bytesRead)).trim() : "";
    } finally {
      await file.close();
    }
  } catch (error) {
    if (/** @type {any} */ (error).code === "ENOENT") {
      return undefined;
    }
    throw error;
  }
}

/**
 * Replaces a file. When it resolves, the text survives a crash and a loss of power. A reader sees the
 * old text or the new one, never a part.
 * @param {string} path
 * @param {string} text
 */
export async function replace(path, text) {
  try {
    await create(newPath(path), `${text}\n`);
    await rename(newPath(path), path);
    await syncDirectory(path);
  } catch (error) {
    // The caller gets the first error, even if the temporary file can't be removed. The next
    // attempt replaces that file.
    await rm(newPath(path), { force: true }).catch(() => {});
    throw error;
  }
}

/**
 * Creates a file, durably and as a whole. Rejects if the path exists.
 * @param {string} path
 * @param {string} text
 */
export async function createNew(path, text) {
  await create(newPath(path), `${text}\n`);
  try {
    // Creating a link fails if the path exists, while a rename would replace the file there.
    await link(newPath(path), path);
  } finally {
    await rm(newPath(path), { force: true });
  }
  await syncDirectory(path);
}

/**
 * Checks that `replace` can create its temporary file. Does not change the file at `path`.
 * @param {string} path
 */
export async function checkWritable(path) {
  await create(newPath(path), "");
  await rm(newPath(path));
}

/**
 * Whether the mode of a file lets other users read or write it. Windows has no modes.
 * @param {string} path
 */
export async function isReadableByOthers(path) {
  return process.platform !== "win32" && ((await stat(path)).mode & 0o077) !== 0;
}

/**
 * The temporary file, which gets the name `path` when it is complete. It is in the same directory,
 * because a file can be renamed or linked only within its file system.
 * @param {string} path
 */
function newPath(path) {
  return `${path}.new`;
}

/**
 * Creates and syncs a file. With the flag `wx`, opening fails if the path exists. The text can therefore
 * not end up in a file, or behind a link, that another user has prepared.
 * @param {string} path
 * @param {string} text
 */
async function create(path, text) {
  // An earlier crash may have left the file behind.
  await rm(path, { force: true });
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Makes a new name in the directory of `path` survive a loss of power.
 * @param {string} path
 */
async function syncDirectory(path) {
  let directory;
  try {
    directory = await open(dirname(path), "r");
  } catch {
    // Some systems, such as Windows, cannot open a directory as a file.
    return;
  }
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
