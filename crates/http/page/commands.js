// Commands and code that join the network from a shell or from a program.

import { element, setText } from "./dom.js";

/**
 * Shows the commands for one service.
 * @param {HTMLElement} place
 * @param {string} endpoint
 */
export function showCommands(place, endpoint) {
  place.replaceChildren(...commands(endpoint).map(([title, text], index) => command(title, text, index === 0)));
}

/**
 * @param {string} endpoint
 * @returns {[string, string][]}
 */
function commands(endpoint) {
  return [
    ["The command", `aurora-discovery keep alice --port 9000 --archetype chess --endpoint ${endpoint}`],
    [
      "curl",
      `curl ${endpoint}/register -d '{"peer_id": "alice", "port": 9000, "archetypes": ["chess"]}'\n` +
        `while sleep 60; do curl ${endpoint}/heartbeat -d '{"peer_id": "alice", "discover": {"limit": 5}}'; done`,
    ],
    [
      "Python",
      "from aurora_discovery import Client, RegisterRequest\n\n" +
        `with Client("${endpoint}") as client:\n` +
        '    with client.keep(RegisterRequest("alice", port=9000, archetypes=["chess"]), on_event=print):\n' +
        '        input("Enter to leave")',
    ],
    [
      "JavaScript",
      'import { Client } from "@aurora-alliance/discovery";\n\n' +
        `const client = new Client("${endpoint}");\n` +
        'client.keep({ peer_id: "alice", archetypes: ["chess"] }, { onEvent: console.log });',
    ],
  ];
}

/**
 * @param {string} title
 * @param {string} text
 * @param {boolean} isOpen
 */
function command(title, text, isOpen) {
  const code = element("code", {}, text);
  const copy = element("button", { type: "button", class: "copy", "aria-label": `Copy: ${title}`, click: () => copyText(code, copy) }, "Copy");
  return element(
    "details",
    { open: isOpen, name: "commands" },
    element("summary", {}, title),
    element("div", { class: "command" }, element("pre", { tabindex: "0", "aria-label": title }, code), copy),
  );
}

/**
 * Copies the text. Selects it instead if the browser does not allow copying, as on a page without
 * HTTPS.
 * @param {HTMLElement} code
 * @param {HTMLElement} button
 */
async function copyText(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    setText(button, "Copied");
  } catch {
    getSelection()?.selectAllChildren(code);
    setText(button, "Selected");
  }
  setTimeout(() => setText(button, "Copy"), 2_000);
}
