//! Serves a registry in memory on http://127.0.0.1:8080, until Ctrl-C.
//!
//! ```console
//! $ cargo run -p aurora-discovery-http --example serve
//! $ curl http://127.0.0.1:8080/register -d '{"peer_id": "alice"}'
//! $ curl http://127.0.0.1:8080/discover
//! ```
#![allow(clippy::print_stdout, reason = "the example prints its address")]

use std::error::Error;
use std::sync::Arc;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_http::{Server, ServerOptions};
use aurora_discovery_registry::{Limits, Registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits::default();
    let store = EmbeddedStore::in_memory(limits.clone());
    let registry = Arc::new(Registry::new(store, limits)?);

    // The default address is 127.0.0.1:8080; all other options also have defaults.
    let server = Server::bind(ServerOptions::default(), registry).await?;
    println!("listening on http://{}", server.local_addr());
    server
        .serve(async {
            // If the signal can't be received, the server stops at once.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
