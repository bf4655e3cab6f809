// Opens data channels between this browser and other peers, and shows the messages on them.

import { element } from "./dom.js";
import { message } from "./feed.js";
import { visible, visibleLines } from "./text.js";

// The maximum number of lines that a channel shows, and the maximum length of a line in characters.
const LINES = 100;
const MAX_LENGTH = 4_000;
// With this many channels, the page accepts no further ones from other peers.
const MAX_CHANNELS = 8;

/** The channels of this browser. */
export class Talk {
  #section;
  #list;
  /** @type {import("./client/connections.js").Connections | undefined} */
  #connections;

  /**
   * @param {any} section hidden until there is a channel
   * @param {any} list
   */
  constructor(section, list) {
    this.#section = section;
    this.#list = list;
  }

  /** Whether this browser can open channels, which it can if it is a peer with a key. */
  get isReady() {
    return this.#connections !== undefined;
  }

  /** @param {import("./client/keeper.js").LeaseKeeper} keeper */
  start(keeper) {
    const connections = keeper.connections({
      accepts: () => this.#list.children.length < MAX_CHANNELS,
      onConnection: (channel, { peer_id }) => this.#show(channel, peer_id, "opened this channel"),
    });
    this.#connections = connections;
  }

  /** Accepts and opens no further channels. Open ones stay open. */
  stop() {
    this.#connections?.close();
    this.#connections = undefined;
  }

  /**
   * Opens a channel. Rejects if the other peer does not accept it.
   * @param {{peer_id: string, signed?: string}} peer
   */
  async connect(peer) {
    const channel = await this.#connections?.connect(peer).catch((error) => {
      const isLate = error instanceof DOMException && error.name === "TimeoutError";
      throw isLate ? new Error("The other peer has not answered within 30 s.") : error;
    });
    if (channel) {
      this.#show(channel, peer.peer_id, "accepted this channel");
    }
  }

  /**
   * @param {RTCDataChannel} channel
   * @param {string} id
   * @param {string} happened
   */
  #show(channel, id, happened) {
    const name = visible(id);
    const lines = element("div", { class: "lines", role: "log", tabindex: "0", "aria-label": `Said by ${name} and you` });
    const line = element("input", { "aria-label": `Say something to ${name}`, maxlength: MAX_LENGTH, autocomplete: "off" });
    const say = (/** @type {(Node | string)[]} */ ...parts) => {
      lines.append(element("p", {}, ...parts));
      while (lines.children.length > LINES) {
        lines.firstChild.remove();
      }
      lines.scrollTop = lines.scrollHeight;
    };
    const send = (/** @type {Event} */ event) => {
      event.preventDefault();
      try {
        channel.send(line.value);
        say("You: ", element("bdi", {}, visibleLines(line.value)));
        line.value = "";
      } catch (error) {
        say(message(error));
      }
    };
    const form = element("form", { submit: send }, line, element("button", {}, "Send"));
    const close = element("button", { type: "button", click: () => (channel.close(), shown.remove(), this.#hideIfEmpty()) }, "Close");
    const shown = element("li", {}, element("h3", {}, element("bdi", {}, name)), lines, form, close);
    say(element("bdi", {}, name), ` has ${happened}. What you say goes to it directly.`);
    channel.addEventListener("message", ({ data }) => {
      const text = typeof data === "string" ? data.slice(0, MAX_LENGTH) : "(no text)";
      say(element("bdi", {}, name), ": ", element("bdi", {}, visibleLines(text)));
    });
    channel.addEventListener("close", () => {
      line.disabled = true;
      form.lastChild.disabled = true;
      say("The channel is closed.");
    });
    this.#list.append(shown);
    this.#section.hidden = false;
  }

  #hideIfEmpty() {
    this.#section.hidden = this.#list.children.length === 0;
  }
}
