// The requests and responses of the API, and the events of watches and lease keepers. Requests and
// responses have the keys of the API, which docs/api.md of the project describes. In addition,
// peers have `metadata_text`. A `DiscoverRequest` has the list `archetypes` in place of the
// parameter `archetype`. Times are UTC without a suffix, so `new Date(`${peer.last_seen}Z`)`
// converts one.

/**
 * Which peers to list, and how.
 * @typedef {object} DiscoverRequest
 * @property {string[]} [archetypes] List peers that have any of these archetypes (at most 8), or
 *   all peers if it is empty.
 * @property {number} [limit] The maximum number of peers, 1 to 1000.
 * @property {string} [exclude] The id of a peer to leave out, normally the caller's own.
 * @property {"sample" | "diverse" | "all"} [order] `sample` is a uniform random sample. Half of a
 *   `diverse` sample comes from different networks. `all` is an enumeration, page by page. The
 *   default is `sample`, unless the operator of the service has made `diverse` the default.
 * @property {string} [cursor] `next_cursor` of the previous page of an enumeration.
 * @property {"legacy" | "full" | "contact" | "observer"} [view] The representation of each peer.
 * @property {"any"} [fill] Fill a short sample with random peers of the whole network.
 */

/**
 * What a peer publishes.
 * @typedef {object} RegisterRequest
 * @property {string} peer_id 1 to 128 visible ASCII characters.
 * @property {string} [address] An IP address or a DNS name; by default the one that the service sees.
 * @property {number} [port] 0 (default) means that the peer does not accept connections.
 * @property {string[]} [archetypes] The tags that the peer can be found by.
 * @property {object | string} [metadata] A JSON object, or its text, which others get byte for byte.
 * @property {number} [ttl_seconds] The duration of the lease to request.
 * @property {string} [lease_token] Proves that the caller is the holder.
 * @property {boolean} [token_only] From now on, only a client with the token can replace, renew or
 *   deregister the peer.
 * @property {boolean} [mail] The peer has a mailbox. The registration has to be signed.
 * @property {DiscoverRequest} [discover] If given, the response includes this page of peers.
 */

/**
 * @typedef {object} HeartbeatRequest
 * @property {string} peer_id
 * @property {string} [lease_token] Proves that the caller is the holder.
 * @property {boolean} [mail] If true, the response includes the messages in the mailbox of the
 *   peer, and the STUN and TURN servers, if the operator of the service has configured any.
 * @property {DiscoverRequest} [discover] If given, the response includes this page of peers.
 */

/**
 * @typedef {object} HeartbeatsRequest
 * @property {(string | {peer_id: string, lease_token: string})[]} peer_ids 1 to 100 entries.
 * @property {DiscoverRequest} [discover] If given, the response includes this page of peers.
 */

/**
 * @typedef {object} DeregisterRequest
 * @property {string} peer_id
 * @property {string} [lease_token] Proves that the caller is the holder.
 */

/**
 * @typedef {object} MailRequest
 * @property {string} to The peer that receives the message.
 * @property {string} lease_token The token of the sender, that is, of the peer in the message's
 *   `from`.
 * @property {string} message A compact JWS, at most 4,096 bytes.
 */

/**
 * @typedef {object} MailboxRequest
 * @property {string} peer_id
 * @property {string} lease_token
 * @property {string[]} [acknowledge] The ids of messages to delete.
 * @property {number} [wait_seconds] How long the service waits for a message if there is none, 0 (default)
 *   to 25.
 */

/**
 * A message that waits for its receiver.
 * @typedef {{id: string, from: string, message: string, sent_seconds_ago: number}} Mail
 */

/**
 * @typedef {{expires_in_seconds: number}} MailResponse
 */

/**
 * `next_poll_seconds` is how long the client should wait before the next request. It is 0 if the
 * service lets requests wait for mail, unless the service is stopping.
 * @typedef {{mail: Mail[], next_poll_seconds: number}} MailboxResponse
 */

/**
 * A peer as the service lists it. The contact view has only the first three keys.
 * @typedef {object} Peer
 * @property {string} peer_id
 * @property {string} address
 * @property {number} port 0 means that the peer does not accept connections.
 * @property {string[]} archetypes
 * @property {string} last_seen When the lease was last acquired or renewed.
 * @property {Record<string, any>} metadata The parsed metadata. Large integers and long
 *   fractions lose digits.
 * @property {string} metadata_text The metadata exactly as the peer wrote it, as JSON text.
 * @property {number} [expires_in_seconds] The time until the lease ends. Only the views `full` and
 *   `observer` have this key and the next two.
 * @property {number} [registered_seconds_ago] The age of the registration.
 * @property {string} [signed] The signed registration, if the peer has signed it.
 *   `SignedRecord.verify` verifies it.
 */

/**
 * A page of peers.
 * @typedef {object} Page
 * @property {Peer[]} peers
 * @property {number} count
 * @property {number} total The number of live peers that match.
 * @property {boolean} [total_is_estimate]
 * @property {string} [next_cursor] The cursor of the next page of an enumeration.
 */

/**
 * The lease that a request has acquired or renewed.
 * @typedef {object} LeaseInfo
 * @property {string} ttl_expires
 * @property {number} ttl_seconds
 * @property {number} heartbeat_interval_seconds How long to wait until the next heartbeat, as the
 *   service requests it.
 */

/**
 * `signed_by` is the key that locks the name, if the registration was signed. With `discover` in the
 * request, the response includes the page.
 * @typedef {{peer_id: string, observed_address: string, lease_token: string, signed_by?: string, ice_servers?: RTCIceServer[]} & LeaseInfo & Partial<Page>} RegisterResponse
 */

/**
 * With `discover` in the request, the response includes the page.
 * @typedef {{peer_id: string, timestamp: string, observed_address?: string, ice_servers?: RTCIceServer[]} & LeaseInfo & Partial<Page>} HeartbeatResponse
 */

/**
 * The result for one peer: a lease, or an error with its code.
 * @typedef {{peer_id: string, error?: string, code?: string} & Partial<LeaseInfo>} HeartbeatResult
 */

/**
 * The results are in the order of the request.
 * @typedef {{timestamp: string, observed_address?: string, renewed: number, results: HeartbeatResult[]} & Partial<Page>} HeartbeatsResponse
 */

/**
 * @typedef {Page & {timestamp: string}} DiscoverResponse
 */

/**
 * @typedef {{message: string, peer_id: string}} DeregisterResponse
 */

/**
 * The figures of the network. The rates cover the last `minutes`.
 * @typedef {object} Network
 * @property {string} timestamp
 * @property {number} peers
 * @property {{archetype: string, peers: number}[]} archetypes
 * @property {string[]} at_risk Sentences that describe risks to the network.
 * @property {number} [minutes]
 * @property {number} [joins_per_minute]
 * @property {number} [leaves_per_minute]
 * @property {number} [expiries_per_minute]
 * @property {number} [revivals_per_minute]
 * @property {number} [undiscovered_ratio]
 */

/**
 * @typedef {{status: string, reason?: string}} Health
 */

/**
 * An event of a watch.
 *
 * - `started`: the watch will deliver every change after its cursor. If it started without a
 *   cursor, enumerate the peers now.
 * - `joined`: the peer is listed from now on. The caller may already know it.
 * - `changed`: the peer registered again with different content. The caller may not know it yet.
 * - `left`: the peer is no longer listed. The watch may not have reported it before.
 * - `reset`: changes were lost, for example because the service was restarted. Discard the known peers
 *   and enumerate again; the watch continues from here.
 * - `interrupted`: the connection failed. The watch will reconnect and continue where it was.
 * - `resumed`: the watch is connected again and has missed nothing.
 * @typedef {{type: "started"} | {type: "joined", peer: Peer} | {type: "changed", peer: Peer}
 *   | {type: "left", peer_id: string} | {type: "reset"}
 *   | {type: "interrupted", error: import("./errors.js").DiscoveryError, retryInSeconds: number}
 *   | {type: "resumed"}} WatchEvent
 */

/**
 * An event of a lease keeper.
 *
 * - `registered`: the peer was registered, for the first time or again after its registration was
 *   lost.
 * - `renewed`: the lease was renewed.
 * - `secured`: the lease token is stored, and the registration is now token-only.
 * - `unsecured`: the lease token could not be stored. The keeper retries after each heartbeat.
 * - `moved`: the service saw the peer at a new address, and the keeper has registered it there.
 * - `forgotten`: the service no longer knows the peer. The keeper registers it again immediately.
 * - `taken_over`: another client has taken over the id. The keeper registers the peer again when the
 *   other lease has ended, unless `stop` was called.
 * - `failed`: a request failed. The keeper will retry.
 * - `expired`: the lease ended before it could be renewed. The keeper continues to try.
 * - `recovered`: a request succeeded after failures.
 * - `refused`: the service refuses the registration. Without `retryInSeconds` the refusal is permanent,
 *   and the keeper stops.
 * - `deregistered`: the keeper has stopped, and its peer is no longer registered.
 * @typedef {{type: "registered", response: RegisterResponse} | {type: "renewed", response: HeartbeatResponse}
 *   | {type: "secured"} | {type: "unsecured", error: unknown}
 *   | {type: "moved", oldAddress: string, newAddress: string} | {type: "forgotten"}
 *   | {type: "taken_over", reason: string}
 *   | {type: "failed", error: import("./errors.js").DiscoveryError, retryInSeconds: number}
 *   | {type: "expired"} | {type: "recovered", afterSeconds: number}
 *   | {type: "refused", reason: string, retryInSeconds?: number}
 *   | {type: "deregistered"}} KeeperEvent
 */

/**
 * Keeps the lease token of a lease keeper across restarts. `TokenFile` is a token store.
 * @typedef {object} TokenStore
 * @property {() => Promise<string | undefined>} load Reads the token, if there is one. If it
 *   rejects, for example because tokens cannot be stored, the keeper stops.
 * @property {(token: string) => Promise<void>} save When it resolves, the token survives a crash.
 */

export {};
