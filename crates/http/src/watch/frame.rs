//! The frames of a stream, as server-sent events.

use std::io::Write as _;

use aurora_discovery_protocol::{Code, ErrorBody, Refusal};
use aurora_discovery_registry::WatchEvent;
use serde::Serialize;

/// The minimum time after which a client that lost its stream reconnects, in milliseconds. The time
/// is drawn for each stream, from this to five times as long, so that clients do not all return in
/// the same second after a restart.
const RETRY_MILLIS: u32 = 1_000;

/// The minimum time after which a client reconnects if its stream was ended because of the budget,
/// in milliseconds. The time is drawn from this to three times as long.
const RECONNECT_LATER_MILLIS: u32 = 10_000;

/// The data of events that carry the position of the stream.
#[derive(Serialize)]
struct Position<'a> {
    since: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

/// The start of a stream: the cursor after which all changes are sent. If the stream can't continue
/// at the requested position, the event says so.
pub(super) fn preface(cursor: &str, fresh: bool) -> Vec<u8> {
    let mut frame = format!("retry: {}\n", RETRY_MILLIS + fastrand::u32(..=4 * RETRY_MILLIS)).into_bytes();
    if fresh {
        frame.extend_from_slice(&reset(cursor));
    } else {
        write(&mut frame, "start", cursor, &position(cursor, None));
    }
    frame
}

/// An event which says that the client has missed changes, with the position at which the stream
/// continues.
pub(super) fn reset(cursor: &str) -> Vec<u8> {
    let refusal = Refusal::new(
        Code::CursorExpired,
        "the changes after the cursor are no longer available; start over: enumerate \
         /discover with order=all, while this stream continues from since",
    );
    let error = ErrorBody::from(refusal);
    let mut frame = Vec::new();
    write(&mut frame, "reset", cursor, &position(cursor, Some(error)));
    frame
}

/// Changes, one event each.
pub(super) fn changes(changes: &[WatchEvent]) -> Vec<u8> {
    let bytes: usize = changes.iter().map(|change| change.json.len() + change.cursor.len() + 32).sum();
    let mut frame = Vec::with_capacity(bytes);
    for WatchEvent { kind, json, cursor } in changes {
        write(&mut frame, kind.as_str(), cursor, json);
    }
    frame
}

/// A comment, so that proxies do not consider the connection dead. It also moves the client's
/// cursor forward without raising an event. Otherwise the cursor of a client that watches rare
/// archetypes would expire.
pub(super) fn keep_alive(cursor: &str) -> Vec<u8> {
    format!(": keep-alive\nid: {cursor}\n\n").into_bytes()
}

/// The last frame of a stream that is ended because of the budget. It tells the client to reconnect
/// later, and to continue after `cursor`.
pub(super) fn reconnect_later(cursor: &str) -> Vec<u8> {
    let retry = RECONNECT_LATER_MILLIS + fastrand::u32(..=2 * RECONNECT_LATER_MILLIS);
    format!(": too many bytes for all watchers; reconnect with the last id\nretry: {retry}\nid: {cursor}\n\n")
        .into_bytes()
}

fn position(since: &str, error: Option<ErrorBody>) -> Vec<u8> {
    // Serializing strings never fails.
    serde_json::to_vec(&Position { since, error }).unwrap_or_default()
}

fn write(frame: &mut Vec<u8>, event: &str, id: &str, json: &[u8]) {
    // Writing to memory never fails.
    let _ = write!(frame, "id: {id}\nevent: {event}\n");
    // The service sends metadata as it received it, so the JSON may contain line breaks between its
    // tokens. Each line needs a `data` field of its own.
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        frame.extend_from_slice(b"data: ");
        frame.extend_from_slice(line);
        frame.push(b'\n');
    }
    frame.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_data_gets_its_own_data_field() {
        let mut frame = Vec::new();
        write(&mut frame, "joined", "c", b"{\"a\":\n1,\r\n\"id: x\":2}");
        assert_eq!(
            String::from_utf8(frame).unwrap(),
            "id: c\nevent: joined\ndata: {\"a\":\ndata: 1,\ndata: \ndata: \"id: x\":2}\n\n"
        );
    }

    #[test]
    fn a_stream_starts_with_its_cursor_and_a_reconnection_time() {
        for _ in 0..100 {
            let text = String::from_utf8(preface("c", false)).unwrap();
            let (retry, event) = text.strip_prefix("retry: ").unwrap().split_once('\n').unwrap();
            assert!((1_000..=5_000).contains(&retry.parse::<u32>().unwrap()), "{retry}");
            assert_eq!(event, "id: c\nevent: start\ndata: {\"since\":\"c\"}\n\n");
        }
        let text = String::from_utf8(preface("c", true)).unwrap();
        assert!(
            text.contains("\nid: c\nevent: reset\ndata: {\"since\":\"c\",\"error\":\"the changes"),
            "{text}"
        );
        assert!(text.contains("\"code\":\"cursor_expired\"") && !text.contains("event: start"));
    }
}
