/**
 * A client of Aurora Discovery, the registry through which peers of a peer-to-peer network find each
 * other, for browsers, Node, Deno and Bun.
 * @module
 */

export { Client } from "./client.js";
export { Connections } from "./connections.js";
export { DiscoveryError } from "./errors.js";
export { LeaseKeeper } from "./keeper.js";
export { Mailbox } from "./mailbox.js";
export { SecretKey } from "./secret-key.js";
export { SignedMessage } from "./signed-message.js";
export { SignedRecord } from "./signed-record.js";
export { Signer } from "./signer.js";
export { Watch } from "./watch.js";

/** @typedef {import("./client.js").CallOptions} CallOptions */
/** @typedef {import("./connections.js").ConnectionOptions} ConnectionOptions */
/** @typedef {import("./connections.js").Remote} Remote */
/** @typedef {import("./errors.js").ErrorKind} ErrorKind */
/** @typedef {import("./keeper.js").KeeperOptions} KeeperOptions */
/** @typedef {import("./mailbox.js").MailboxOptions} MailboxOptions */
/** @typedef {import("./signed-message.js").Message} Message */
/** @typedef {import("./signer.js").SignerOptions} SignerOptions */
/** @typedef {import("./transport.js").ClientOptions} ClientOptions */
/** @typedef {import("./types.js").DeregisterRequest} DeregisterRequest */
/** @typedef {import("./types.js").DeregisterResponse} DeregisterResponse */
/** @typedef {import("./types.js").DiscoverRequest} DiscoverRequest */
/** @typedef {import("./types.js").DiscoverResponse} DiscoverResponse */
/** @typedef {import("./types.js").Health} Health */
/** @typedef {import("./types.js").HeartbeatRequest} HeartbeatRequest */
/** @typedef {import("./types.js").HeartbeatResponse} HeartbeatResponse */
/** @typedef {import("./types.js").HeartbeatResult} HeartbeatResult */
/** @typedef {import("./types.js").HeartbeatsRequest} HeartbeatsRequest */
/** @typedef {import("./types.js").HeartbeatsResponse} HeartbeatsResponse */
/** @typedef {import("./types.js").KeeperEvent} KeeperEvent */
/** @typedef {import("./types.js").LeaseInfo} LeaseInfo */
/** @typedef {import("./types.js").Mail} Mail */
/** @typedef {import("./types.js").MailRequest} MailRequest */
/** @typedef {import("./types.js").MailResponse} MailResponse */
/** @typedef {import("./types.js").MailboxRequest} MailboxRequest */
/** @typedef {import("./types.js").MailboxResponse} MailboxResponse */
/** @typedef {import("./types.js").Network} Network */
/** @typedef {import("./types.js").Page} Page */
/** @typedef {import("./types.js").Peer} Peer */
/** @typedef {import("./types.js").RegisterRequest} RegisterRequest */
/** @typedef {import("./types.js").RegisterResponse} RegisterResponse */
/** @typedef {import("./types.js").TokenStore} TokenStore */
/** @typedef {import("./types.js").WatchEvent} WatchEvent */
