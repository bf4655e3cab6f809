// The list of peers, with a search.

import { element, setText } from "./dom.js";
import { contact, countdown, number, visible } from "./text.js";

// The number of rows that are shown at first, and that "Show more" adds.
const ROWS = 25;

const ORDERS = {
  name: (/** @type {Entry} */ a, /** @type {Entry} */ b) => (a.id < b.id ? -1 : 1),
  newest: (/** @type {Entry} */ a, /** @type {Entry} */ b) => (b.registeredAt ?? 0) - (a.registeredAt ?? 0),
  lease: (/** @type {Entry} */ a, /** @type {Entry} */ b) => a.endsAt - b.endsAt,
};

/** @typedef {import("./directory.js").Entry} Entry */

/** Shows the peers of a directory as rows. */
export class PeerList {
  #elements;
  #directory;
  #open;
  #limit = ROWS;
  /** @type {Map<string, any>} */
  #rows = new Map();
  /** The archetype to which the list is limited; empty if it is not limited. */
  archetype = "";
  /** The id of this browser's own peer. */
  own = "";

  /**
   * @param {Record<"rows" | "search" | "sort" | "count" | "more", any>} elements
   * @param {import("./directory.js").Directory} directory
   * @param {(id: string) => void} open is called when a peer is selected
   * @param {() => void} onSearch is called when the search changes
   */
  constructor(elements, directory, open, onSearch) {
    this.#elements = elements;
    this.#directory = directory;
    this.#open = open;
    const changed = () => {
      this.#limit = ROWS;
      this.show();
      onSearch();
    };
    elements.search.addEventListener("input", changed);
    elements.sort.addEventListener("change", changed);
    elements.search.form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
    elements.more.addEventListener("click", () => {
      this.#limit += ROWS;
      this.show();
    });
  }

  get search() {
    return this.#elements.search.value.trim().toLowerCase();
  }

  /** Whether a search or an archetype limits the list. */
  isLimited() {
    return this.search !== "" || this.archetype !== "";
  }

  /** @param {Entry} entry */
  selects(entry) {
    const { archetype, search } = this;
    return (archetype === "" || (entry.peer.archetypes ?? []).includes(archetype)) && entry.searched.includes(search);
  }

  /** Shows the peers as they are now. */
  show() {
    const { rows, sort, count, more } = this.#elements;
    const order = ORDERS[/** @type {keyof typeof ORDERS} */ (sort.value)];
    const { entries, isSample, total } = this.#directory;
    const search = this.search;
    const found = [...entries.values()].filter((entry) => this.selects(entry)).sort(order);
    const shown = found.slice(0, this.#limit).map((entry) => this.#row(entry));
    for (const [id, { row }] of this.#rows) {
      if (!shown.includes(row)) {
        this.#rows.delete(id);
      }
    }
    place(rows, shown);
    more.hidden = found.length <= this.#limit;
    const among = isSample ? `a sample of ${number(entries.size)} of ${number(total)} peers` : `${number(entries.size)} peers`;
    const limits = [search && `“${visible(search)}”`, this.archetype && `archetype ${visible(this.archetype)}`];
    const what = limits.filter(Boolean).join(" and ");
    setText(count, what ? `${number(found.length)} found for ${what} among ${among}` : isSample ? `Shown: ${among}` : among);
  }

  /** Updates the countdowns. */
  tick() {
    for (const { entry, row, lease, bar } of this.#rows.values()) {
      row.classList.toggle("new", entry.isNew());
      const left = entry.secondsLeft();
      setText(lease, left > 0 ? countdown(left) : "due");
      bar.style.width = `${entry.lease > 0 ? Math.min(100, (100 * left) / entry.lease) : 0}%`;
    }
  }

  /** The row of a peer. @param {Entry} entry */
  #row(entry) {
    let known = this.#rows.get(entry.id);
    if (!known || known.entry !== entry) {
      known = this.#create(entry);
      this.#rows.set(entry.id, known);
    }
    const { peer } = entry;
    if (known.peer !== peer) {
      known.peer = peer;
      setText(known.address, contact(peer));
      known.badges.replaceChildren(...this.#badges(entry));
    }
    known.row.classList.toggle("own", entry.id === this.own);
    return known.row;
  }

  /** @param {Entry} entry */
  #create(entry) {
    const address = element("td", { class: "wide address" });
    const badges = element("span", { class: "badges" });
    const lease = element("span", { class: "left" });
    const bar = element("span", { class: "fill" });
    const name = element("bdi", {}, visible(entry.id));
    const row = element(
      "tr",
      {},
      element("td", {}, element("button", { type: "button", class: "name", click: () => this.#open(entry.id) }, name), badges),
      address,
      element("td", { class: "lease" }, lease, element("span", { class: "bar", "aria-hidden": "true" }, bar)),
    );
    return { entry, row, address, badges, lease, bar };
  }

  /** @param {Entry} entry */
  #badges({ id, peer }) {
    const badges = (peer.archetypes ?? []).map((archetype) => element("bdi", { class: "badge" }, visible(archetype)));
    if (/** @type {any} */ (peer).signed) {
      badges.unshift(element("span", { class: "badge signed" }, "signed"));
    }
    if (id === this.own) {
      badges.unshift(element("span", { class: "badge own" }, "this browser"));
    }
    return badges;
  }
}

/**
 * Makes `wanted` the children of `parent`, and keeps the focus.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} wanted
 */
function place(parent, wanted) {
  const focused = document.activeElement;
  const keep = new Set(wanted);
  for (const child of [...parent.children]) {
    if (!keep.has(/** @type {HTMLElement} */ (child))) {
      child.remove();
    }
  }
  wanted.forEach((child, index) => {
    if (parent.children[index] !== child) {
      parent.insertBefore(child, parent.children[index] ?? null);
    }
  });
  if (focused instanceof HTMLElement && focused !== document.activeElement && parent.contains(focused)) {
    focused.focus();
  }
}
