//! The memory layout of peers, and the reasons for it.
//!
//! A page of fifty peers reads fifty random places in memory. With 100,000 peers the index is
//! larger than the processor's caches, so nearly every one of these reads goes to main memory and
//! takes about as long as a few hundred instructions. A processor fetches memory in *cache lines*
//! of 64 bytes. It can wait for several lines at once, but only if the address of the next one does
//! not depend on the contents of the previous one. Everything unusual in this module follows from
//! that. The effect of each part was measured by removing it
//! (docs/decisions/0013-plainer-index.md):
//!
//! - **A slot holds everything that a listing in the legacy view reads** ([`slot`]): the lease, the
//!   lengths and the text itself, in 256 bytes. With the text behind a pointer, a page takes 1.9
//!   times as long, because the address of each text is known only after its slot has arrived.
//! - **A slot begins at a multiple of 256 bytes**, so it takes four cache lines rather than five.
//!   Without this, a page takes 1.3 to 1.7 times as long.
//! - **Data that such a listing does not read is stored elsewhere** ([`tail`]): the holder, the
//!   memberships, and texts that are too long for a slot. The part that a heartbeat reads is in one
//!   cache line, except for the lock of a signed peer.
//! - **The lock and the record of a signed peer follow the text in the tail** (`signature.rs`), so
//!   that a peer that did not sign takes no memory for them.
//! - **All slots of a page are touched before the first one is copied** (`Index::touch`): reading
//!   one byte of each cache line makes the processor fetch all of them at the same time. Without
//!   this, a page takes 1.8 to 2.1 times as long.
//! - **Slots keep a peer's JSON in the compact form** of
//!   [`EncodedPeer`](aurora_discovery_protocol::EncodedPeer). The complete JSON takes 61 bytes more
//!   per peer.
//! - **No structure is copied as a whole when it grows** ([`arena`], [`table`]): slots are in
//!   chunks and tables in shards. A single vector or table would not make pages slower, but growing
//!   it stopped the store for a quarter of a second at a million peers.
//! - **The table of ids** ([`ids`]) stores the hash next to the slot, so a look-up reads one place
//!   in memory.

pub(super) mod arena;
pub(super) mod count;
pub(super) mod ids;
pub(super) mod slot;
pub(super) mod source;
pub(super) mod table;
pub(super) mod tail;
