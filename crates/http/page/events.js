// The log of what has happened since the page was opened.

import { element, throttled } from "./dom.js";
import { visible } from "./text.js";

// The maximum number of lines in the log.
const KEPT = 100;
// New lines appear at most once in this many milliseconds, and then at most LINES_AT_ONCE of them. The
// log shows only the number of further changes.
const REDRAW_INTERVAL_MS = 250;
const LINES_AT_ONCE = 12;

const TEXTS = { joined: "joined", changed: "registered again", left: "left", expired: "expired" };

/** Shows which peers joined, registered again or left, the latest first. */
export class EventLog {
  #list;
  /** @type {{change: keyof typeof TEXTS, entry: import("./directory.js").Entry, at: Date}[]} */
  #waiting = [];
  #plan = throttled(() => this.#show(), REDRAW_INTERVAL_MS);
  #open;

  /**
   * @param {HTMLElement} list
   * @param {import("./directory.js").Directory} directory
   * @param {(id: string) => void} open is called when a peer is selected
   */
  constructor(list, directory, open) {
    this.#list = list;
    this.#open = open;
    directory.listeners.push((change, entry) => {
      if (change in TEXTS) {
        this.#waiting.push({ change: /** @type {keyof typeof TEXTS} */ (change), entry, at: new Date() });
        this.#plan();
      }
    });
    this.#list.append(element("li", { class: "none" }, "Nothing yet"));
  }

  #show() {
    const waiting = this.#waiting;
    this.#waiting = [];
    const lines = waiting.slice(-LINES_AT_ONCE).map((event) => this.#line(event));
    if (waiting.length > lines.length) {
      lines.unshift(element("li", { class: "none" }, `and ${waiting.length - lines.length} more changes`));
    }
    this.#list.querySelector(".none:only-child")?.remove();
    this.#list.prepend(...lines.reverse());
    while (this.#list.childElementCount > KEPT) {
      this.#list.lastElementChild?.remove();
    }
  }

  /** @param {{change: keyof typeof TEXTS, entry: import("./directory.js").Entry, at: Date}} event */
  #line({ change, entry, at }) {
    const name = element("bdi", {}, visible(entry.id));
    const isThere = change === "joined" || change === "changed";
    return element(
      "li",
      { class: change },
      element("time", { datetime: at.toISOString() }, at.toLocaleTimeString("en-GB")),
      " ",
      isThere ? element("button", { type: "button", class: "name", click: () => this.#open(entry.id) }, name) : name,
      ` ${TEXTS[change]}`,
    );
  }
}
