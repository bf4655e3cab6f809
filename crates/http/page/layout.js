// A force-directed layout. Linked nodes attract each other, nodes repel those that are close, and each
// archetype has a place that attracts its peers. A grid finds the nodes that are close, so the time for
// a step grows only with the number of nodes and links.

// The distance below which two nodes repel each other, and the length of a link at rest.
const REACH = 46;
const LINK = 34;
const REPULSION = 0.9;
const ATTRACTION = 0.035;
const GRAVITY = 0.012;
const FRICTION = 0.62;
// All forces are multiplied by the heat. It falls by this factor with each step. Below the lowest
// heat, the layout is at rest.
const COOLING = 0.985;
const LOWEST_HEAT = 0.02;

/**
 * @typedef {object} Node
 * @property {number} x
 * @property {number} y
 * @property {number} vx
 * @property {number} vy
 * @property {number} group the place that attracts it
 * @property {Node[]} links
 */

/** Moves nodes until they rest. */
export class Layout {
  /** @type {Set<Node>} */
  nodes = new Set();
  #heat = 1;
  #groups = 1;
  #aspect = 1.6;

  /** Lets the nodes move again. @param {number} heat 0 to 1 */
  warm(heat) {
    this.#heat = Math.max(this.#heat, heat);
  }

  /**
   * @param {number} groups the number of places
   * @param {number} aspect the width of the picture divided by its height
   */
  shape(groups, aspect) {
    if (groups !== this.#groups || Math.abs(aspect - this.#aspect) > 0.1) {
      this.#groups = groups;
      this.#aspect = aspect;
      this.warm(0.6);
    }
  }

  isAtRest() {
    return this.#heat < LOWEST_HEAT;
  }

  /** The place of a group, on an ellipse around the centre. @param {number} group */
  place(group) {
    const radius = this.#groups > 1 ? 13 * Math.sqrt(this.nodes.size + 4) : 0;
    const angle = (2 * Math.PI * group) / this.#groups - Math.PI / 2;
    return { x: radius * Math.cos(angle) * this.#aspect, y: radius * Math.sin(angle) * 0.75 };
  }

  /** Moves all nodes by one step. */
  step() {
    const heat = this.#heat;
    const places = Array.from({ length: this.#groups }, (_, group) => this.place(group));
    for (const node of this.nodes) {
      const place = places[node.group % this.#groups];
      node.vx += (place.x - node.x) * GRAVITY * heat;
      node.vy += (place.y - node.y) * GRAVITY * heat;
      for (const other of node.links) {
        attract(node, other, heat);
      }
    }
    this.#repel(heat);
    for (const node of this.nodes) {
      node.vx *= FRICTION;
      node.vy *= FRICTION;
      node.x += node.vx;
      node.y += node.vy;
    }
    this.#heat *= COOLING;
  }

  /** @param {number} heat */
  #repel(heat) {
    /** @type {Map<number, Node[]>} */
    const cells = new Map();
    const key = (/** @type {number} */ column, /** @type {number} */ row) => column * 65_536 + row;
    for (const node of this.nodes) {
      const at = key(Math.floor(node.x / REACH), Math.floor(node.y / REACH));
      const cell = cells.get(at);
      if (cell) {
        cell.push(node);
      } else {
        cells.set(at, [node]);
      }
    }
    for (const [at, cell] of cells) {
      // The cell below, and the three in the next column. The other four neighbours reach this cell in
      // the same way, so each pair of cells is visited once.
      const others = [at + 1, at + 65_535, at + 65_536, at + 65_537].map((other) => cells.get(other));
      for (let one = 0; one < cell.length; one++) {
        for (let two = one + 1; two < cell.length; two++) {
          repel(cell[one], cell[two], heat);
        }
        for (const other of others) {
          for (let two = 0; other && two < other.length; two++) {
            repel(cell[one], other[two], heat);
          }
        }
      }
    }
  }
}

/**
 * @param {Node} node
 * @param {Node} other
 * @param {number} heat
 */
function attract(node, other, heat) {
  const dx = other.x - node.x;
  const dy = other.y - node.y;
  const distance = Math.sqrt(dx * dx + dy * dy) || 1;
  // Long links, such as those between archetypes, must not pull everything into one heap.
  const force = (Math.min(distance - LINK, 2 * LINK) / distance) * ATTRACTION * heat;
  node.vx += dx * force;
  node.vy += dy * force;
  other.vx -= dx * force;
  other.vy -= dy * force;
}

/**
 * @param {Node} one
 * @param {Node} two
 * @param {number} heat
 */
function repel(one, two, heat) {
  let dx = two.x - one.x;
  let dy = two.y - one.y;
  let square = dx * dx + dy * dy;
  if (square >= REACH * REACH) {
    return;
  }
  if (square < 0.01) {
    dx = Math.random() - 0.5;
    dy = Math.random() - 0.5;
    square = dx * dx + dy * dy + 0.01;
  }
  const distance = Math.sqrt(square);
  const force = (((REACH - distance) / REACH) * REPULSION * 4 * heat) / distance;
  one.vx -= dx * force;
  one.vy -= dy * force;
  two.vx += dx * force;
  two.vy += dy * force;
}
