// The details of one peer.

import { element, setText } from "./dom.js";
import { message } from "./feed.js";
import { verify } from "./signature.js";
import { contact, countdown, duration, visible, visibleLines } from "./text.js";

// The number of peers that "Which peers would it discover now?" requests.
const INTRODUCTIONS = 8;

/** A dialog with the details of a peer. */
export class Details {
  #dialog;
  #directory;
  #client;
  #talk;
  #introduced;
  /** @type {import("./directory.js").Entry | undefined} */
  #entry;
  /** @type {any} */
  #lease;
  /** @type {any} */
  #state;

  /**
   * @param {any} dialog
   * @param {import("./directory.js").Directory} directory
   * @param {() => import("./client/client.js").Client} client
   * @param {import("./talk.js").Talk} talk
   * @param {(id: string, others: string[]) => void} introduced is called with the peers that the service
   *   would introduce to this one
   */
  constructor(dialog, directory, client, talk, introduced) {
    this.#dialog = dialog;
    this.#directory = directory;
    this.#client = client;
    this.#talk = talk;
    this.#introduced = introduced;
    dialog.addEventListener("close", () => (this.#entry = undefined));
    // The target is the dialog itself only for a click on its backdrop, outside of its contents.
    dialog.addEventListener("click", (/** @type {Event} */ event) => event.target === dialog && dialog.close());
    directory.listeners.push((change, entry) => {
      if (entry.id === this.#entry?.id && change === "changed") {
        this.open(entry.id);
      }
    });
  }

  /** @param {string} id */
  open(id) {
    const entry = this.#directory.entries.get(id);
    if (!entry) {
      return;
    }
    this.#entry = entry;
    const { peer } = entry;
    const signature = element("dd", { class: "signature" }, "Not signed: the service alone vouches for it.");
    const found = element("ul", { class: "found" });
    const progress = element("p", { role: "status" });
    const connect = element(
      "button",
      { type: "button", hidden: true, click: () => this.#connect(peer, connect, progress) },
      "Open a channel",
    );
    this.#lease = element("dd");
    this.#state = element("p", { class: "state", role: "status" });
    this.#dialog.replaceChildren(
      element(
        "div",
        { class: "sheet" },
        element("button", { type: "button", class: "close", "aria-label": "Close", click: () => this.#dialog.close() }, "×"),
        element("h2", { id: "details-title" }, element("bdi", {}, visible(peer.peer_id))),
        this.#state,
        list([
          ["Address", contact(peer)],
          ["Archetypes", (peer.archetypes ?? []).map(visible).join(", ") || "none"],
          ["Lease ends in", this.#lease],
          ["Registered", entry.registeredAt === undefined ? "" : `${duration((performance.now() - entry.registeredAt) / 1_000)} ago`],
          ["Signature", signature],
          ["Metadata", element("pre", { tabindex: "0", "aria-label": "Metadata" }, visibleLines(pretty(peer)))],
        ]),
        element("button", { type: "button", click: () => this.#introduce(peer, found) }, "Which peers would it discover now?"),
        connect,
        progress,
        found,
      ),
    );
    this.tick();
    if (/** @type {any} */ (peer).signed) {
      setText(signature, "Verifying");
      verify(/** @type {any} */ (peer)).then((result) => {
        showVerification(signature, result);
        connect.hidden = !result.mail || !this.#talk.isReady;
      });
    }
    if (!this.#dialog.open) {
      this.#dialog.showModal();
    }
  }

  /** Updates the countdown, and whether the peer is still shown. */
  tick() {
    if (this.#entry) {
      const isListed = this.#directory.entries.get(this.#entry.id) === this.#entry;
      const left = this.#entry.secondsLeft();
      setText(this.#state, isListed ? "" : "This peer is no longer shown: it has left, or its lease has ended.");
      setText(this.#lease, left > 0 ? countdown(left) : "its next heartbeat is due");
    }
  }

  /**
   * @param {import("./client/types.js").Peer} peer
   * @param {HTMLElement} found
   */
  async #introduce(peer, found) {
    const archetypes = (peer.archetypes ?? []).slice(0, 8);
    try {
      const { peers } = await this.#client().discover({ archetypes, exclude: peer.peer_id, limit: INTRODUCTIONS, view: "observer" });
      this.#introduced(peer.peer_id, peers.map(({ peer_id }) => peer_id));
      found.replaceChildren(...peers.map((other) => this.#link(other)));
      if (peers.length === 0) {
        found.replaceChildren(element("li", {}, "No other peer has one of its archetypes."));
      }
    } catch (error) {
      found.replaceChildren(element("li", {}, message(error)));
    }
  }

  /**
   * @param {import("./client/types.js").Peer} peer
   * @param {any} button
   * @param {HTMLElement} progress
   */
  async #connect(peer, button, progress) {
    button.disabled = true;
    setText(progress, "Connecting");
    try {
      await this.#talk.connect(peer);
      this.#dialog.close();
    } catch (error) {
      setText(progress, message(error));
    } finally {
      button.disabled = false;
    }
  }

  /** @param {import("./client/types.js").Peer} peer */
  #link(peer) {
    const name = element("bdi", {}, visible(peer.peer_id));
    const isKnown = this.#directory.entries.has(peer.peer_id);
    const shown = isKnown ? element("button", { type: "button", class: "name", click: () => this.open(peer.peer_id) }, name) : name;
    return element("li", {}, shown, ` ${contact(peer)}`);
  }
}

/**
 * @param {HTMLElement} place
 * @param {import("./signature.js").Verification} result
 */
function showVerification(place, { isValid, key, text }) {
  place.classList.toggle("valid", isValid === true);
  place.classList.toggle("invalid", isValid === false);
  place.replaceChildren(text, ...(key ? [element("code", {}, visible(key))] : []));
}

/** @param {[string, string | Node][]} rows */
function list(rows) {
  const present = rows.filter(([, value]) => value !== "");
  return element(
    "dl",
    {},
    ...present.flatMap(([label, value]) => [
      element("dt", {}, label),
      typeof value === "string" || value.nodeName !== "DD" ? element("dd", {}, value) : value,
    ]),
  );
}

/**
 * The metadata with a line for each key. If parsing may have changed it (a large number, for example),
 * the text that the peer sent.
 * @param {import("./client/types.js").Peer} peer
 */
function pretty({ metadata, metadata_text = "{}" }) {
  const compact = JSON.stringify(metadata);
  const isSame = compact === metadata_text.replace(/\s+/g, "") || compact === metadata_text;
  return isSame ? JSON.stringify(metadata, undefined, 2) : metadata_text;
}
