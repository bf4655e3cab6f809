//! The Aurora Discovery contract over HTTP: one service, and a server for it.
//!
//! [`DiscoveryService`] is the whole contract: routes, handlers and what surrounds them. It knows no
//! sockets, so that [`Server`] and other transports, such as AWS Lambda, serve the same one.

mod body;
mod budget;
mod clock;
mod compress;
mod connection;
mod error;
mod exchange;
mod exposition;
mod gzip;
mod handler;
mod header;
mod history;
mod limit;
mod log;
mod metrics;
mod network;
mod open_files;
mod options;
mod origin;
mod overflow;
mod query;
mod received;
mod response;
mod route;
mod router;
mod scrape;
mod server;
mod service;
mod sweep;
mod tls;
mod watch;

pub use clock::Clock;
pub use exchange::DiscoveryService;
pub use open_files::OpenFiles;
pub use options::{ServerOptions, ServiceOptions, TlsFiles};
pub use origin::{Origin, RequestId};
pub use route::Route;
pub use server::{ServeError, Server};
pub use tls::TlsError;
