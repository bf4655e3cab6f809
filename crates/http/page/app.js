// The entry point of the page: creates its parts and connects them.

import { Client } from "./client/client.js";
import { DiscoveryError } from "./client/errors.js";
import { showCommands } from "./commands.js";
import { Details } from "./details.js";
import { Directory } from "./directory.js";
import { byId, setText, throttled } from "./dom.js";
import { EventLog } from "./events.js";
import { Feed, message } from "./feed.js";
import { Figures } from "./figures.js";
import { Join } from "./join.js";
import { PeerList } from "./peers.js";
import { Picture } from "./picture.js";
import { Talk } from "./talk.js";

// The time between two requests for the figures, in milliseconds.
const FIGURES_EVERY = 5_000;
// The shortest time between two updates of the list, in milliseconds.
const LIST_EVERY = 300;
// The time between two updates of the countdowns, in milliseconds.
const TICK = 1_000;
// In a large network, the page requests this many peers of a selected archetype.
const OF_ARCHETYPE = 200;

// The address of the page is that of the service, including a path prefix (such as a stage of API
// Gateway) if there is one.
const endpoint = new URL(".", location.href).href.replace(/\/$/, "");
const directory = new Directory();
let client = new Client(endpoint, { patienceSeconds: 10 });
let feed = new Feed(client, directory, report);

const talk = new Talk(byId("talk"), byId("channels"));
const details = new Details(byId("details"), directory, () => client, talk, (id, others) => picture.introduce(id, others));
const open = (/** @type {string} */ id) => details.open(id);
const picture = new Picture(byId("picture"), byId("hover"), directory, open);
const list = new PeerList(
  { rows: byId("rows"), search: byId("search"), sort: byId("sort"), count: byId("count"), more: byId("more") },
  directory,
  open,
  select,
);
const figures = new Figures(byId("tiles"), byId("risks"), byId("archetypes"), async () => {
  list.archetype = figures.selected;
  select();
  list.show();
  await fetchSelected();
});
new EventLog(byId("events"), directory, open);
const join = new Join(
  {
    form: byId("join-form"),
    status: byId("join-status"),
    found: byId("found"),
    join: byId("join-button"),
    discover: byId("discover-button"),
    leave: byId("leave-button"),
  },
  () => client,
  talk,
  (id, others) => {
    picture.own = id;
    list.own = id;
    if (id) {
      picture.introduce(id, others);
    }
    picture.draw();
    list.show();
  },
  open,
);

const showList = throttled(() => {
  list.show();
  list.tick();
  byId("empty").hidden = directory.entries.size > 0 || byId("status").dataset.state === "failed";
}, LIST_EVERY);
directory.listeners.push(showList);

setText(byId("host"), location.host + new URL(".", location.href).pathname.replace(/\/$/, ""));
showCommands(byId("commands"), endpoint);
setInterval(() => {
  list.tick();
  details.tick();
  join.tick();
}, TICK);
showFigures();
setInterval(() => document.hidden || showFigures(), FIGURES_EVERY);
byId("key-form").addEventListener("submit", useKey);

async function showFigures() {
  try {
    const network = await client.network();
    directory.total = network.peers;
    figures.show(network);
    picture.rank(network.archetypes.map(({ archetype }) => archetype));
    list.show();
  } catch (error) {
    // The feed reports failures of the service.
    requireKey(error);
  }
}

/** Dims the dots of the peers that the search or the selected archetype excludes. */
function select() {
  picture.selects = list.isLimited() ? (entry) => list.selects(entry) : undefined;
  picture.draw();
}

/** Adds peers of the selected archetype to a sample, in which they may be rare. */
async function fetchSelected() {
  if (!directory.isSample || !figures.selected) {
    return;
  }
  try {
    const { peers } = await client.discover({ archetypes: [figures.selected], limit: OF_ARCHETYPE, view: "observer" });
    for (const peer of peers) {
      directory.put(peer, "found");
    }
  } catch (error) {
    report("busy", message(error));
  }
}

/**
 * Shows the state of the connection to the service.
 * @param {string} state
 * @param {string} text
 * @param {unknown} [error]
 */
function report(state, text, error) {
  const status = byId("status");
  status.dataset.state = state;
  setText(status, state === "failed" ? "Stopped" : text);
  const notice = byId("notice");
  notice.hidden = error === undefined;
  setText(notice, error === undefined ? "" : message(error));
  requireKey(error);
  if (directory.isSample) {
    setText(byId("caption"), `The network is large. Each dot is a peer of a random sample, and lines are drawn at random.`);
  }
  showList();
}

/** @param {unknown} error */
function requireKey(error) {
  if (error instanceof DiscoveryError && error.status === 401) {
    byId("key-form").hidden = false;
  }
}

/** @param {SubmitEvent} event */
function useKey(event) {
  event.preventDefault();
  const form = byId("key-form");
  form.hidden = true;
  feed.close();
  client = new Client(endpoint, { patienceSeconds: 10, headers: { authorization: `Bearer ${byId("key").value}` } });
  feed = new Feed(client, directory, report);
  showFigures();
}
