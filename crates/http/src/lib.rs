//! The Aurora Discovery contract over HTTP: one router, and the server that carries it.
//!
//! Decoding, identity, errors, headers, metrics and logs have one place each; a handler is what is left. The router knows nothing
//! of sockets, and the server nothing of the contract's rules.

mod answer;
mod body;
mod call;
mod clock;
mod connection;
mod contract;
mod deregister;
mod discover;
mod error;
mod gzip;
mod header;
mod health;
mod heartbeat;
mod inbox;
mod log;
mod metrics;
mod network;
mod open_files;
mod options;
mod origin;
mod outbox;
mod pace;
mod register;
mod route;
mod router;
mod server;
mod sweep;
mod tls;
mod turn_away;
mod watch;

pub use clock::Clock;
pub use open_files::OpenFiles;
pub use options::{ServeOptions, TlsFiles};
pub use origin::{Origin, RequestId};
pub use route::Route;
pub use router::{RouterOptions, router};
pub use server::{ServeError, Server};
pub use tls::TlsError;
