// The picture of the network on a canvas. The list of peers has the same content for readers who
// can't see the picture.

import { setText } from "./dom.js";
import { Layout } from "./layout.js";
import { number, visible } from "./text.js";

// The maximum number of random lines from one peer, and about the maximum of all random lines
// together. In a large network, each peer therefore has fewer.
const LINKS_OF_A_PEER = 5;
const LINKS_IN_ALL = 2_400;
// With at most this many peers, the name of each is below its dot.
const NAMED = 40;
// How long a peer that joined or left is marked, in milliseconds.
const ARRIVAL = 1_600;
const DEPARTURE = 900;
// The maximum distance, in pixels, at which the pointer selects a peer.
const NEAR = 14;
const COLOURS = 8;

/**
 * @typedef {import("./layout.js").Node & {
 *   entry: import("./directory.js").Entry, colour: number, leavesAt?: number, hasExpired?: boolean}} Dot
 */

/** Draws the peers of a directory. */
export class Picture {
  #canvas;
  #context;
  #hover;
  #directory;
  #open;
  #layout = new Layout();
  /** @type {Map<string, Dot>} */
  #dots = new Map();
  /** @type {Set<Dot>} */
  #departing = new Set();
  /**
   * For the id of a peer, the ids of the peers that the service introduced to it, as far as the
   * page knows.
   * @type {Map<string, string[]>}
   */
  #met = new Map();
  /** @type {string[]} */
  #ranking = [];
  #view = { x: 0, y: 0, scale: 0 };
  #isDue = false;
  #lacksLinks = true;
  #style = /** @type {Record<string, string>} */ ({});
  /** @type {Dot | undefined} */
  #pointed;
  #isStill = matchMedia("(prefers-reduced-motion: reduce)");
  /** Which peers a search or a filter selects; `undefined` selects all. */
  selects = /** @type {((entry: import("./directory.js").Entry) => boolean) | undefined} */ (undefined);
  /** The id of this browser's own peer. */
  own = "";

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} hover shows the name of the peer below the pointer
   * @param {import("./directory.js").Directory} directory
   * @param {(id: string) => void} open is called when a peer is clicked
   */
  constructor(canvas, hover, directory, open) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.#hover = hover;
    this.#directory = directory;
    this.#open = open;
    directory.listeners.push((change, entry) => this.#changed(change, entry));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#style = {};
      this.draw();
    });
    canvas.addEventListener("pointermove", (event) => this.#point(event));
    canvas.addEventListener("pointerleave", () => this.#point());
    canvas.addEventListener("click", (event) => {
      this.#point(event);
      if (this.#pointed) {
        this.#open(this.#pointed.entry.id);
      }
    });
  }

  /**
   * Colours peers by the rank of their most frequent archetype.
   * @param {string[]} ranking
   */
  rank(ranking) {
    if (ranking.join("\n") === this.#ranking.join("\n")) {
      return;
    }
    this.#ranking = ranking;
    this.#lacksLinks = true;
    for (const dot of this.#dots.values()) {
      this.#classify(dot);
    }
    this.draw();
  }

  /** The number of an archetype's colour: its rank, or COLOURS for all rarer ones. @param {string} archetype */
  static colour(/** @type {string[]} */ ranking, archetype) {
    const rank = ranking.indexOf(archetype);
    return rank >= 0 && rank < COLOURS ? rank : COLOURS;
  }

  /**
   * Draws the lines from a peer to those that the service introduced to it.
   * @param {string} id
   * @param {string[]} others
   */
  introduce(id, others) {
    this.#met.set(id, others);
    this.#lacksLinks = true;
    this.#layout.warm(0.4);
    this.draw();
  }

  /** Draws the picture in the next animation frame. */
  draw() {
    if (!this.#isDue) {
      this.#isDue = true;
      requestAnimationFrame(() => {
        this.#isDue = false;
        this.#frame();
      });
    }
  }

  /**
   * @param {import("./directory.js").Change} change
   * @param {import("./directory.js").Entry} entry
   */
  #changed(change, entry) {
    this.#lacksLinks = true;
    const known = this.#dots.get(entry.id);
    if (change === "found" || change === "joined") {
      this.#add(entry);
    } else if (change === "changed") {
      known && this.#classify(known);
    } else if (known) {
      this.#dots.delete(entry.id);
      this.#met.delete(entry.id);
      this.#layout.nodes.delete(known);
      if (change !== "dropped") {
        known.leavesAt = performance.now();
        known.hasExpired = change === "expired";
        this.#departing.add(known);
      }
      if (this.#pointed === known) {
        this.#point();
      }
      this.#layout.warm(0.1);
    }
    this.draw();
  }

  /** @param {import("./directory.js").Entry} entry */
  #add(entry) {
    const dot = /** @type {Dot} */ ({ entry, x: 0, y: 0, vx: 0, vy: 0, group: 0, colour: COLOURS, links: [] });
    this.#classify(dot);
    const place = this.#layout.place(dot.group);
    const spread = 8 * Math.sqrt(this.#dots.size + 4);
    dot.x = place.x + (Math.random() - 0.5) * spread;
    dot.y = place.y + (Math.random() - 0.5) * spread;
    this.#dots.set(entry.id, dot);
    this.#layout.nodes.add(dot);
    this.#layout.warm(entry.joinedAt > 0 ? 0.25 : 1);
  }

  /** @param {Dot} dot */
  #classify(dot) {
    const colours = (dot.entry.peer.archetypes ?? []).map((archetype) => Picture.colour(this.#ranking, archetype));
    dot.colour = Math.min(COLOURS, ...colours);
    dot.group = dot.colour;
  }

  /**
   * Gives each peer its lines. They lead to the peers that the service introduced to it, if the page
   * knows them, otherwise to random peers, most of which have the same colour.
   */
  #link() {
    const dots = [...this.#dots.values()];
    const most = Math.min(LINKS_OF_A_PEER, 1 + Math.ceil(Math.log2(dots.length + 1) / 2), dots.length - 1);
    const wanted = Math.min(most, Math.max(1, Math.floor(LINKS_IN_ALL / (dots.length + 1))));
    /** @type {Dot[][]} */
    const byColour = Array.from({ length: COLOURS + 1 }, () => []);
    for (const dot of dots) {
      byColour[dot.colour].push(dot);
    }
    for (const dot of dots) {
      const met = this.#met.get(dot.entry.id);
      if (met) {
        dot.links = met.map((id) => this.#dots.get(id)).filter((other) => other !== undefined);
        continue;
      }
      dot.links = dot.links.filter((other) => this.#dots.get(/** @type {Dot} */ (other).entry.id) === other);
      for (let tries = 0; dot.links.length < wanted && tries < 3 * wanted; tries++) {
        // The last line may lead to any peer. After some tries all may, because a rare archetype has
        // too few peers.
        const from = dot.links.length < wanted - 1 && tries < wanted ? byColour[dot.colour] : dots;
        const other = from[Math.floor(Math.random() * from.length)];
        if (other !== dot && !dot.links.includes(other)) {
          dot.links.push(other);
        }
      }
    }
  }

  #frame() {
    const { width, height } = this.#resize();
    if (this.#lacksLinks) {
      this.#lacksLinks = false;
      this.#link();
    }
    const groups = Math.min(COLOURS + 1, Math.max(1, this.#ranking.length));
    this.#layout.shape(groups, width / Math.max(height, 1));
    let steps = this.#isStill.matches ? 300 : 1;
    while (steps-- > 0 && !this.#layout.isAtRest()) {
      this.#layout.step();
    }
    this.#fit(width, height);
    this.#paint(width, height);
    this.#describe();
    if (!this.#layout.isAtRest() || this.#isChanging()) {
      this.draw();
    }
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = Math.min(devicePixelRatio, 2);
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
      this.#view.scale = 0;
    }
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { width, height };
  }

  /** Moves the view by a part of the way to where all peers are visible. */
  #fit(/** @type {number} */ width, /** @type {number} */ height) {
    let [left, right, top, bottom] = [-60, 60, -40, 40];
    for (const { x, y } of this.#dots.values()) {
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    const [marginX, marginY] = this.#dots.size <= NAMED ? [56, 34] : [20, 20];
    const scale = Math.min((width - 2 * marginX) / (right - left), (height - 2 * marginY) / (bottom - top), 3);
    const target = { x: (left + right) / 2, y: (top + bottom) / 2, scale: Math.max(scale, 0.02) };
    const pace = this.#view.scale === 0 || this.#isStill.matches ? 1 : 0.15;
    for (const key of /** @type {const} */ (["x", "y", "scale"])) {
      this.#view[key] += (target[key] - this.#view[key]) * pace;
    }
  }

  #isChanging() {
    const now = performance.now();
    if (this.#departing.size > 0) {
      return true;
    }
    for (const { entry } of this.#dots.values()) {
      if (now - entry.joinedAt < ARRIVAL) {
        return true;
      }
    }
    return false;
  }

  #paint(/** @type {number} */ width, /** @type {number} */ height) {
    const context = this.#context;
    const now = performance.now();
    const { x, y, scale } = this.#view;
    const at = (/** @type {Dot} */ dot) => [(dot.x - x) * scale + width / 2, (dot.y - y) * scale + height / 2];
    const radius = Math.max(1.8, Math.min(7, 4.6 * Math.sqrt(scale) + 0.3));
    context.clearRect(0, 0, width, height);
    this.#paintLinks(at);
    for (const dot of this.#departing) {
      const age = (now - (dot.leavesAt ?? 0)) / DEPARTURE;
      if (age >= 1) {
        this.#departing.delete(dot);
      } else {
        this.#circle(at(dot), radius * (1 + 2 * age), this.#colour(dot.hasExpired ? "expired" : "left"), 1 - age);
      }
    }
    for (const dot of this.#dots.values()) {
      const isSelected = !this.selects || this.selects(dot.entry);
      const age = (now - dot.entry.joinedAt) / ARRIVAL;
      const colour = this.#colour(`archetype-${dot.colour}`);
      if (age < 1 && !this.#isStill.matches) {
        this.#ring(at(dot), radius + 18 * age, colour, 1 - age);
      }
      this.#circle(at(dot), isSelected ? radius : radius * 0.7, colour, isSelected ? 1 : 0.18);
      if (dot === this.#pointed || dot.entry.id === this.own) {
        this.#ring(at(dot), radius + 4, this.#colour("text"), 1);
      }
    }
    this.#paintNames(at, radius);
  }

  /** @param {(dot: Dot) => number[]} at */
  #paintLinks(at) {
    const context = this.#context;
    context.beginPath();
    for (const dot of this.#dots.values()) {
      const [x, y] = at(dot);
      for (const other of dot.links) {
        context.moveTo(x, y);
        context.lineTo(...pair(at(/** @type {Dot} */ (other))));
      }
    }
    context.globalAlpha = this.#dots.size > 200 ? 0.4 : 0.6;
    context.strokeStyle = this.#colour("line");
    // A line of one pixel of the device is drawn much faster than a wider one.
    context.lineWidth = this.#dots.size > 200 ? 1 / context.getTransform().a : 1;
    context.stroke();
    const shown = this.#pointed ?? this.#dots.get(this.own);
    if (shown) {
      context.beginPath();
      for (const other of shown.links) {
        context.moveTo(...pair(at(shown)));
        context.lineTo(...pair(at(/** @type {Dot} */ (other))));
      }
      context.globalAlpha = 0.9;
      context.strokeStyle = this.#colour("text");
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /**
   * @param {(dot: Dot) => number[]} at
   * @param {number} radius
   */
  #paintNames(at, radius) {
    const context = this.#context;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillStyle = this.#colour("text");
    const named = this.#dots.size <= NAMED ? this.#dots.values() : [this.#dots.get(this.own)].filter((dot) => !!dot);
    for (const dot of named) {
      const [x, y] = at(dot);
      context.fillText(shortened(dot.entry.id), x, y + radius + 14);
    }
  }

  #circle(/** @type {number[]} */ [x, y], /** @type {number} */ radius, /** @type {string} */ colour, alpha = 1) {
    const context = this.#context;
    context.globalAlpha = alpha;
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
  }

  #ring(/** @type {number[]} */ [x, y], /** @type {number} */ radius, /** @type {string} */ colour, alpha = 1) {
    const context = this.#context;
    context.globalAlpha = alpha;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
    context.globalAlpha = 1;
  }

  /** A colour of the style sheet. @param {string} name */
  #colour(name) {
    if (!this.#style[name]) {
      // The computed value of a custom property is not yet resolved for the colour scheme. That of a
      // property such as `outline-color` is.
      const probe = this.#hover;
      const before = probe.className;
      probe.className = `colour-${name}`;
      this.#style[name] = getComputedStyle(probe).outlineColor;
      probe.className = before;
    }
    return this.#style[name];
  }

  /** @param {PointerEvent | MouseEvent} [event] */
  #point(event) {
    const before = this.#pointed;
    this.#pointed = event && this.#nearest(event.offsetX, event.offsetY);
    this.#canvas.classList.toggle("pointing", this.#pointed !== undefined);
    this.#hover.hidden = !this.#pointed;
    if (this.#pointed && event) {
      const { peer } = this.#pointed.entry;
      setText(this.#hover, [peer.peer_id, ...(peer.archetypes ?? [])].map(visible).join(" · "));
      const isRight = event.offsetX > this.#canvas.clientWidth / 2;
      this.#hover.style.transform = `translate(${event.offsetX}px, ${event.offsetY + 18}px) translateX(${isRight ? "-100%" : "0"})`;
    }
    if (before !== this.#pointed) {
      this.draw();
    }
  }

  #nearest(/** @type {number} */ left, /** @type {number} */ top) {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const { x, y, scale } = this.#view;
    let best;
    let bestDistance = NEAR;
    for (const dot of this.#dots.values()) {
      const distance = Math.hypot((dot.x - x) * scale + width / 2 - left, (dot.y - y) * scale + height / 2 - top);
      if (distance < bestDistance) {
        bestDistance = distance;
        best = dot;
      }
    }
    return best;
  }

  #describe() {
    const { total, isSample } = this.#directory;
    const shown = this.#dots.size;
    const text = isSample ? `${number(shown)} of ${number(total)} peers, drawn as dots` : `${number(shown)} peers, drawn as dots`;
    const label = `${text} with lines between those that were introduced; the list below has their details`;
    if (this.#canvas.getAttribute("aria-label") !== label) {
      this.#canvas.setAttribute("aria-label", label);
    }
  }
}

/**
 * @param {number[]} point
 * @returns {[number, number]}
 */
function pair([x, y]) {
  return [x, y];
}

/** @param {string} name */
function shortened(name) {
  return name.length > 14 ? `${visible(name.slice(0, 13))}…` : visible(name);
}
