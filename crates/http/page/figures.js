// The figures of the network, its risks, and its archetypes as filters.

import { element, setText } from "./dom.js";
import { Picture } from "./picture.js";
import { figure, number, visible } from "./text.js";

// The number of archetypes that are shown.
const SHOWN = 14;

const RATES = [
  ["joins_per_minute", "Joins per minute"],
  ["leaves_per_minute", "Departures per minute"],
  ["expiries_per_minute", "Expired per minute"],
  ["revivals_per_minute", "Revived per minute"],
];

/** Shows the response to `GET /network`. */
export class Figures {
  #tiles;
  #risks;
  #archetypes;
  #onSelect;
  /** The archetype to which the list is limited; empty if it is not limited. */
  selected = "";

  /**
   * @param {HTMLElement} tiles
   * @param {HTMLElement} risks
   * @param {HTMLElement} archetypes
   * @param {() => void} onSelect is called when `selected` changes
   */
  constructor(tiles, risks, archetypes, onSelect) {
    this.#tiles = tiles;
    this.#risks = risks;
    this.#archetypes = archetypes;
    this.#onSelect = onSelect;
  }

  /** @param {import("./client/types.js").Network} network */
  show(network) {
    const tiles = [["Peers", number(network.peers)]];
    for (const [key, label] of RATES) {
      const value = /** @type {any} */ (network)[key];
      if (value !== undefined) {
        tiles.push([label, figure(value)]);
      }
    }
    if (network.undiscovered_ratio !== undefined) {
      tiles.push(["Not yet discovered", `${figure(network.undiscovered_ratio * 100)} %`]);
    }
    this.#showTiles(tiles);
    this.#showRisks(network.at_risk);
    this.#showArchetypes(network);
  }

  /** @param {string[][]} tiles */
  #showTiles(tiles) {
    if (this.#tiles.childElementCount !== tiles.length) {
      this.#tiles.replaceChildren(...tiles.map(() => element("div", {}, element("dt"), element("dd"))));
    }
    tiles.forEach(([label, value], index) => {
      const [term, description] = this.#tiles.children[index].children;
      setText(term, label);
      setText(description, value);
    });
  }

  /** @param {string[]} risks */
  #showRisks(risks) {
    const texts = risks.length > 0 ? risks.map(visible) : ["No risk is known."];
    this.#risks.classList.toggle("none", risks.length === 0);
    if (texts.join("\n") !== [...this.#risks.children].map((risk) => risk.textContent).join("\n")) {
      this.#risks.replaceChildren(...texts.map((text) => element("li", {}, text)));
    }
  }

  /** @param {import("./client/types.js").Network} network */
  #showArchetypes({ archetypes, peers }) {
    const ranking = archetypes.map(({ archetype }) => archetype);
    const shown = archetypes.slice(0, SHOWN);
    if (this.selected && !shown.some(({ archetype }) => archetype === this.selected)) {
      const count = archetypes.find(({ archetype }) => archetype === this.selected)?.peers ?? 0;
      shown.push({ archetype: this.selected, peers: count });
    }
    const known = new Map([...this.#archetypes.children].map((button) => [/** @type {any} */ (button).archetype, button]));
    const buttons = shown.map(({ archetype, peers: count }) => {
      const button = known.get(archetype) ?? this.#button(archetype);
      const [name, bar, value] = button.children;
      setText(name, visible(archetype));
      setText(value, number(count));
      bar.firstChild.className = `fill colour-archetype-${Picture.colour(ranking, archetype)}`;
      bar.firstChild.style.width = `${(100 * count) / Math.max(peers, 1)}%`;
      button.setAttribute("aria-pressed", String(archetype === this.selected));
      return button;
    });
    if (buttons.some((button, index) => this.#archetypes.children[index] !== button) || buttons.length !== known.size) {
      const focused = document.activeElement;
      this.#archetypes.replaceChildren(...buttons);
      if (focused instanceof HTMLElement && this.#archetypes.contains(focused)) {
        focused.focus();
      }
    }
    if (buttons.length === 0) {
      this.#archetypes.replaceChildren();
    }
  }

  /** @param {string} archetype */
  #button(archetype) {
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span"));
    const button = element(
      "button",
      { type: "button", click: () => this.select(this.selected === archetype ? "" : archetype) },
      element("bdi"),
      bar,
      element("span", { class: "value" }),
    );
    button.archetype = archetype;
    return button;
  }

  /** @param {string} archetype */
  select(archetype) {
    this.selected = archetype;
    for (const button of this.#archetypes.children) {
      button.setAttribute("aria-pressed", String(/** @type {any} */ (button).archetype === archetype));
    }
    this.#onSelect();
  }
}
