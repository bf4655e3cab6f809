// Helpers that change the document. They insert strings only as text, never as HTML, because many
// come from peers.

/**
 * The element of index.html with this id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * A new element. Strings among the children become text.
 * @param {string} name
 * @param {Record<string, any>} [properties] attributes, or listeners if they are functions
 * @param {(Node | string)[]} children
 * @returns {any}
 */
export function element(name, properties = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      created.addEventListener(key, value);
    } else if (value !== undefined && value !== false) {
      created.setAttribute(key, value === true ? "" : value);
    }
  }
  created.append(...children);
  return created;
}

/**
 * Sets the text of an element only if it differs, so that nothing is laid out or announced again.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/**
 * Returns a function that calls `draw` at most once in `milliseconds`, however often it is called.
 * @param {() => void} draw
 * @param {number} milliseconds
 */
export function throttled(draw, milliseconds) {
  let isWaiting = false;
  return () => {
    if (!isWaiting) {
      isWaiting = true;
      setTimeout(() => {
        isWaiting = false;
        draw();
      }, milliseconds);
    }
  };
}
