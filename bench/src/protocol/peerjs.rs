//! The protocol of PeerJS. A peer stays joined while its WebSocket is open, and sends heartbeats on
//! it. A GET request over HTTP lists all peers.

use std::io::{self, Cursor};
use std::net::SocketAddr;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{Duty, Protocol, Request, occurrences};
use crate::synthetic;
use crate::wire::{Framing, Http, Response, get};

/// What the server sends first to a peer that it accepts.
const OPEN: &[u8] = br#""OPEN""#;

pub(super) struct Peerjs {
    pub(super) target: SocketAddr,
}

impl Framing for Peerjs {
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>> {
        // An HTTP response starts with `H`. The first byte of a WebSocket frame is never a letter.
        if !received.starts_with(b"H") {
            return Ok(frame_length(received)?.map(|length| Response { status: 200, length }));
        }
        let Some(response) = Http.response(received)? else {
            return Ok(None);
        };
        if response.status != 101 {
            return Ok(Some(response));
        }
        let frames = &received[response.length..];
        Ok(frame_length(frames)?.map(|length| Response {
            status: if occurrences(&frames[..length], OPEN) > 0 { 200 } else { 409 },
            length: response.length + length,
        }))
    }
}

impl Protocol for Peerjs {
    fn request(&self, duty: Duty, peer: u64) -> Option<Request> {
        let bytes = match duty {
            Duty::Join => self.upgrade(peer),
            // A heartbeat has no response. The pong shows that the server has read it.
            Duty::Renew => {
                let heartbeat = frame(OpCode::Data(Data::Text), br#"{"type":"HEARTBEAT"}"#);
                [heartbeat, frame(OpCode::Control(Control::Ping), b"")].concat()
            }
            Duty::Get => get(self.target, "/peerjs/peers"),
            Duty::Both => return None,
        };
        Some(bytes.into())
    }

    /// The list contains only ids, each between quotes.
    fn peers_in(&self, response: &[u8]) -> io::Result<usize> {
        let body = response.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Ok(occurrences(&response[body..], b"\"") / 2)
    }

    fn is_joined_by_connection(&self) -> bool {
        true
    }

    /// A peer is known only while its connection is open. No connection survives the end of the
    /// server, so the restarted server knows no peer.
    fn count_known(&self, _target: SocketAddr, _peers: &[u64]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Peerjs {
    fn upgrade(&self, peer: u64) -> Vec<u8> {
        let (target, id) = (self.target, synthetic::peer_id(peer));
        let path = format!("/peerjs?key=peerjs&id={id}&token={peer}&version=1.5.5");
        let headers = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        format!("GET {path} HTTP/1.1\r\nhost: {target}\r\n{headers}\r\n\r\n").into_bytes()
    }
}

/// A frame of a client, whose mask of zeros leaves the payload as it is.
fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { opcode, mask: Some([0; 4]), ..FrameHeader::default() };
    let mut bytes = Vec::new();
    // Writing to a Vec can't fail.
    let _ = header.format(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// The length of the first frame, or `None` while it is incomplete.
fn frame_length(received: &[u8]) -> io::Result<Option<usize>> {
    let mut cursor = Cursor::new(received);
    let header = FrameHeader::parse(&mut cursor).map_err(io::Error::other)?;
    let length = header.map(|(_, payload)| cursor.position() + payload);
    let length = length.map(usize::try_from).transpose().map_err(io::Error::other)?;
    Ok(length.filter(|length| *length <= received.len()))
}

#[cfg(test)]
mod tests {
    use super::{Peerjs, frame};
    use crate::protocol::{Duty, Protocol as _};
    use crate::wire::{Framing as _, Response};
    use tungstenite::protocol::frame::coding::{Control, OpCode};

    fn peerjs() -> Peerjs {
        Peerjs { target: "127.0.0.1:1".parse().unwrap() }
    }

    /// A frame of a server, which has no mask.
    fn text(content: &str) -> Vec<u8> {
        [&[0x81, u8::try_from(content.len()).unwrap()], content.as_bytes()].concat()
    }

    #[test]
    fn a_peer_has_joined_when_the_server_says_open() {
        let upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(peerjs().response(upgraded).unwrap(), None);
        for (content, status) in [(r#"{"type":"OPEN"}"#, 200), (r#"{"type":"ID-TAKEN"}"#, 409)] {
            let response = [&upgraded[..], &text(content)].concat();
            let expected = Response { status, length: response.len() };
            assert_eq!(peerjs().response(&response).unwrap(), Some(expected));
        }
    }

    #[test]
    fn a_renewal_is_a_heartbeat_and_a_ping() {
        let renewal = peerjs().request(Duty::Renew, 1).unwrap();
        let ping = frame(OpCode::Control(Control::Ping), b"");
        assert_eq!(ping, [0x89, 0x80, 0, 0, 0, 0]);
        assert!(renewal.bytes.ends_with(&[&br#"{"type":"HEARTBEAT"}"#[..], &ping].concat()));
    }

    #[test]
    fn a_page_has_the_ids_between_quotes() {
        let response = b"HTTP/1.1 200 OK\r\netag: \"x\"\r\n\r\n[\"a\",\"b\"]";
        assert_eq!(peerjs().peers_in(response).unwrap(), 2);
    }
}
