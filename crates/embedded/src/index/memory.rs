//! Where peers lie in memory, and why.
//!
//! A page of fifty peers reads fifty random places. At 100,000 peers the index is larger than the processor's caches, so
//! nearly every one of these reads goes to main memory and takes about as long as a few hundred instructions. A processor fetches
//! memory in *cache lines* of 64 bytes, and it can wait for several lines at once, but only if nothing depends on the first
//! before it asks for the next. Everything unusual in this module follows from that. What each part is worth was
//! measured by taking it out (docs/decisions/0013-plainer-index.md):
//!
//! - **A slot holds everything that a listing reads** ([`slot`]): the lease, the lengths and the text itself, in 256
//!   bytes. With the text behind a pointer a page takes 1.9 times as long, because each text's address is known only after
//!   its slot has arrived.
//! - **A slot begins at a multiple of 256 bytes**, so it is four cache lines rather than five. Without it a page takes 1.3
//!   to 1.7 times as long.
//! - **What a listing does not read lies elsewhere** ([`tail`]): the holder, the memberships, and texts too long for a slot.
//! - **Slots are touched before the first is copied** (`Index::touch`): reading one byte of every line of the page's slots makes
//!   the processor fetch them all at the same time. Without it a page takes 1.8 to 2.1 times as long.
//! - **Slots keep a peer's JSON in the compact form** of [`EncodedPeer`](aurora_protocol::EncodedPeer). The complete JSON takes 61
//!   bytes more a peer.
//! - **Nothing is copied as a whole when it grows** ([`arena`], [`table`]): slots live in chunks and tables in pieces. A single
//!   vector or table costs no time per page, but growing it stopped the store for a quarter of a second at a million
//!   peers.
//! - **The table of ids** ([`ids`]) keeps the hash and the slot side by side, so a look-up is one place in memory.

pub(super) mod arena;
pub(super) mod ids;
pub(super) mod slot;
pub(super) mod table;
pub(super) mod tail;
