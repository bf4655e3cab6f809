//! The Aurora Discovery API over HTTP: one axum [`Router`](axum::Router), and a server for it.
//!
//! [`router`] contains the whole API: the routes, the layers around them and the handlers. It does
//! not depend on sockets, so that [`Server`] and other transports, such as AWS Lambda, serve the
//! same router. A transport puts an [`Origin`] into each request's extensions.

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
pub use open_files::OpenFiles;
pub use options::{ServerOptions, ServiceOptions, TlsFiles};
pub use origin::{Origin, RequestId};
pub use route::Route;
pub use router::router;
pub use server::{ServeError, Server};
pub use tls::TlsError;
