// Registers this browser as a peer, and keeps it registered until it leaves or the page is closed.

import { DiscoveryError } from "./client/errors.js";
import { SecretKey } from "./client/secret-key.js";
import { element, setText } from "./dom.js";
import { message } from "./feed.js";
import { contact, countdown, duration, visible } from "./text.js";

// The number of peers that each heartbeat requests.
const DISCOVERED = 8;
// The maximum number of discovered peers in the list.
const KEPT = 40;

/** The form, and the keeper of this browser's lease. */
export class Join {
  #elements;
  #client;
  #talk;
  #onPeer;
  #open;
  /** @type {import("./client/keeper.js").LeaseKeeper | undefined} */
  #keeper;
  #registration = /** @type {any} */ ({});
  #endsAt = 0;
  #nextAt = 0;
  #says = "";
  /** @type {Map<string, import("./client/types.js").Peer>} */
  #found = new Map();

  /**
   * @param {Record<"form" | "status" | "found" | "join" | "discover" | "leave", any>} elements
   * @param {() => import("./client/client.js").Client} client
   * @param {import("./talk.js").Talk} talk
   * @param {(id: string, others: string[]) => void} onPeer is called with the id of this browser's peer
   *   and the peers that it has discovered; the id is empty after the peer has left
   * @param {(id: string) => void} open is called when a peer is selected
   */
  constructor(elements, client, talk, onPeer, open) {
    this.#elements = elements;
    this.#client = client;
    this.#talk = talk;
    this.#onPeer = onPeer;
    this.#open = open;
    const { form, discover, leave } = elements;
    form.peer_id.value = `browser-${Math.random().toString(36).slice(2, 8)}`;
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#join();
    });
    discover.addEventListener("click", () => this.#discover());
    leave.addEventListener("click", () => this.#leave());
  }

  /** Updates the countdown. */
  tick() {
    const now = performance.now();
    if (this.#keeper && this.#endsAt > now) {
      const next = Math.max(0, (this.#nextAt - now) / 1_000);
      const lease = countdown((this.#endsAt - now) / 1_000);
      // Screen readers do not announce this element, because they would read every second of it.
      setText(this.#elements.status.lastChild, ` Lease: ${lease}; next heartbeat in ${countdown(next)}.`);
    }
  }

  async #join() {
    const { form } = this.#elements;
    this.#markField();
    const archetypes = form.archetypes.value.split(",").map((/** @type {string} */ part) => part.trim()).filter(Boolean);
    const metadata = form.metadata.value.trim();
    const id = form.peer_id.value;
    try {
      if (metadata) {
        JSON.parse(metadata);
      }
    } catch (error) {
      this.#say(`The metadata is not JSON: ${message(error)}`, "failed");
      this.#markField("metadata");
      return;
    }
    this.#registration = {
      peer_id: id,
      archetypes,
      metadata: metadata || undefined,
      discover: { limit: DISCOVERED, exclude: id, archetypes: archetypes.slice(0, 8), fill: "any" },
    };
    this.#say("Registering", "busy");
    this.#setJoined(true);
    // A browser that cannot sign gets no mailbox, so other peers cannot open a channel to it.
    const key = await SecretKey.generate().catch(() => undefined);
    this.#registration.mail = key && true;
    const keeper = this.#client().keep(this.#registration, { key, onEvent: (event) => this.#take(event) });
    this.#keeper = keeper;
    if (key) {
      this.#talk.start(keeper);
    }
    keeper.ended().catch((error) => {
      if (this.#keeper === keeper) {
        this.#end();
        this.#say(message(error), "failed");
        this.#markField(error instanceof DiscoveryError ? error.field?.replace("signed.", "") : undefined);
      }
    });
  }

  /** @param {import("./client/types.js").KeeperEvent} event */
  #take(event) {
    switch (event.type) {
      case "registered":
      case "renewed": {
        const { ttl_seconds, heartbeat_interval_seconds, peers = [] } = event.response;
        this.#endsAt = performance.now() + ttl_seconds * 1_000;
        this.#nextAt = performance.now() + heartbeat_interval_seconds * 1_000;
        this.#say(`Registered as ${visible(this.#registration.peer_id)} from ${event.response.observed_address}.`, "live");
        this.#discovered(peers);
        return this.tick();
      }
      case "failed":
        return this.#say(`${message(event.error)} Trying again in ${duration(event.retryInSeconds)}.`, "busy");
      case "taken_over":
        return this.#say(`Another client has taken the name over: ${event.reason}`, "failed");
      case "refused":
        return event.retryInSeconds !== undefined
          ? this.#say(`${event.reason} Trying again in ${duration(event.retryInSeconds)}.`, "busy")
          : undefined;
      case "expired":
        return this.#say("The lease has ended. Trying to register again.", "busy");
      case "deregistered":
        return this.#say("Deregistered.", "");
    }
  }

  async #discover() {
    try {
      const { peers } = await this.#client().discover(this.#registration.discover);
      this.#discovered(peers);
    } catch (error) {
      this.#say(message(error), "failed");
    }
  }

  async #leave() {
    const keeper = this.#keeper;
    this.#say("Leaving", "busy");
    try {
      await keeper?.stop();
    } catch (error) {
      this.#say(message(error), "failed");
    }
    this.#end();
  }

  #end() {
    this.#keeper = undefined;
    this.#talk.stop();
    this.#found.clear();
    this.#elements.found.replaceChildren();
    this.#setJoined(false);
    this.#onPeer("", []);
  }

  /** @param {import("./client/types.js").Peer[]} peers */
  #discovered(peers) {
    for (const peer of peers) {
      this.#found.delete(peer.peer_id);
      this.#found.set(peer.peer_id, peer);
    }
    const latest = [...this.#found.values()].slice(-KEPT).reverse();
    this.#found = new Map([...latest].reverse().map((peer) => [peer.peer_id, peer]));
    this.#elements.found.replaceChildren(
      ...latest.map((peer) => {
        const name = element("bdi", {}, visible(peer.peer_id));
        return element(
          "li",
          {},
          element("button", { type: "button", class: "name", click: () => this.#open(peer.peer_id) }, name),
          ` ${contact(peer)}`,
        );
      }),
    );
    this.#onPeer(this.#registration.peer_id, latest.map(({ peer_id }) => peer_id));
  }

  /** @param {boolean} isJoined */
  #setJoined(isJoined) {
    const { form, join, discover, leave } = this.#elements;
    for (const field of [form.peer_id, form.archetypes, form.metadata]) {
      field.readOnly = isJoined;
    }
    join.disabled = isJoined;
    discover.disabled = !isJoined;
    leave.disabled = !isJoined;
  }

  /**
   * @param {string} text
   * @param {string} state
   */
  #say(text, state) {
    const { status } = this.#elements;
    status.dataset.state = state;
    if (text !== this.#says || !status.firstChild) {
      this.#says = text;
      status.replaceChildren(text, element("span", { "aria-live": "off" }));
    }
    setText(status.lastChild, "");
  }

  /** Marks only the field with this name as invalid, or none. @param {string} [name] */
  #markField(name) {
    const { form } = this.#elements;
    for (const field of [form.peer_id, form.archetypes, form.metadata]) {
      field.toggleAttribute("aria-invalid", false);
      if (field.name === name) {
        field.setAttribute("aria-invalid", "true");
        field.focus();
      }
    }
  }
}
