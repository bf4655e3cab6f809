//! A chat between all users of this program. It greets each peer that it connects to, and shows
//! what the others say. Run it in two terminals, each with a name:
//!
//! ```sh
//! cargo run --example chat -- ada http://127.0.0.1:8080
//! ```
#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_client::Client;
use aurora_discovery_matchbox::AuroraSignallerBuilder;
use matchbox_socket::{PeerState, RtcIceServerConfig, WebRtcSocket};
use tokio::runtime::Handle;
use tokio::signal::ctrl_c;
use tokio::time::sleep;

/// How often the socket is read, as a game does once a frame.
const FRAME: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "somebody".to_owned());
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let signaller = AuroraSignallerBuilder::new(Client::new(url)?, Handle::current());
    let (mut socket, message_loop) = WebRtcSocket::builder("chat")
        .signaller_builder(Arc::new(signaller.clone()))
        // Without any server, only peers in the same network can connect. Peers in different
        // networks need a STUN server, and some of them a TURN server.
        .ice_server(RtcIceServerConfig { urls: Vec::new(), username: None, credential: None })
        .add_reliable_channel()
        .build();
    let mut message_loop = tokio::spawn(message_loop);
    loop {
        for (peer, state) in socket.update_peers() {
            let Some(key) = signaller.key_of(peer) else { continue };
            match state {
                PeerState::Connected => {
                    println!("a peer joined, with the key {key}");
                    let greeting = format!("{name} says hello");
                    socket.channel_mut(0).send(greeting.into_bytes().into(), peer);
                }
                PeerState::Disconnected => println!("a peer left, with the key {key}"),
            }
        }
        for (_, packet) in socket.channel_mut(0).receive() {
            println!("{}", String::from_utf8_lossy(&packet));
        }
        tokio::select! {
            () = sleep(FRAME) => {}
            interrupted = ctrl_c() => {
                interrupted?;
                break;
            }
            ended = &mut message_loop => {
                ended??;
                break;
            }
        }
    }
    // Ending the message loop drops the socket, which then leaves the room. The program waits for
    // that, so that others no longer find this peer.
    message_loop.abort();
    signaller.left().await;
    Ok(())
}
