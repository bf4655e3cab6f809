//! What is written to a stream, in the form of server-sent events.

use std::io::Write as _;

use aurora_protocol::{Code, ErrorBody};
use aurora_registry::Told;
use serde::Serialize;

/// When a client that lost its stream comes back, in milliseconds: from this to five times as long,
/// drawn for each stream, so that after a restart not all come in one second.
const RETRY_MILLIS: u32 = 1_000;

/// The data of the events that give a stream's position.
#[derive(Serialize)]
struct Position<'a> {
    since: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

/// How a stream begins: with the cursor behind which everything is told. One that can't go on where
/// it was says so.
pub(super) fn preface(cursor: &str, fresh: bool) -> Vec<u8> {
    let mut frame = format!("retry: {}\n", RETRY_MILLIS + fastrand::u32(..=4 * RETRY_MILLIS)).into_bytes();
    if fresh {
        frame.extend_from_slice(&reset(cursor));
    } else {
        write(&mut frame, "start", cursor, &position(cursor, None));
    }
    frame
}

/// Says that something was missed, and from where it goes on.
pub(super) fn reset(cursor: &str) -> Vec<u8> {
    let error = ErrorBody {
        error: "what changed since is not remembered any more; start anew: enumerate /discover with order=all, while this stream \
                goes on from since"
            .to_owned(),
        code: Code::CursorExpired,
        field: None,
    };
    let mut frame = Vec::new();
    write(&mut frame, "reset", cursor, &position(cursor, Some(error)));
    frame
}

/// Changes, one event each.
pub(super) fn changes(changes: &[Told]) -> Vec<u8> {
    let bytes: usize = changes.iter().map(|change| change.json.len() + change.cursor.len() + 32).sum();
    let mut frame = Vec::with_capacity(bytes);
    for Told { kind, json, cursor } in changes {
        write(&mut frame, kind.as_str(), cursor, json);
    }
    frame
}

/// A comment, so that no proxy takes the stream for dead. The cursor, which raises no event, moves
/// on: a watcher of rare archetypes must not come back with one that has expired.
pub(super) fn keep_alive(cursor: &str) -> Vec<u8> {
    format!(": keep-alive\nid: {cursor}\n\n").into_bytes()
}

fn position(since: &str, error: Option<ErrorBody>) -> Vec<u8> {
    // Strings always serialize.
    serde_json::to_vec(&Position { since, error }).unwrap_or_default()
}

fn write(frame: &mut Vec<u8>, event: &str, id: &str, json: &[u8]) {
    // Writing to memory does not fail.
    let _ = write!(frame, "id: {id}\nevent: {event}\n");
    // A line's end may stand between the tokens of metadata, which come as they were written; no
    // line of data may hold one.
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
    fn data_of_several_lines_stays_data() {
        let mut frame = Vec::new();
        write(&mut frame, "joined", "c", b"{\"a\":\n1,\r\n\"id: x\":2}");
        assert_eq!(
            String::from_utf8(frame).unwrap(),
            "id: c\nevent: joined\ndata: {\"a\":\ndata: 1,\ndata: \ndata: \"id: x\":2}\n\n"
        );
    }

    #[test]
    fn a_stream_begins_with_its_cursor_and_a_time_to_come_back() {
        for _ in 0..100 {
            let text = String::from_utf8(preface("c", false)).unwrap();
            let (retry, event) = text.strip_prefix("retry: ").unwrap().split_once('\n').unwrap();
            assert!((1_000..=5_000).contains(&retry.parse::<u32>().unwrap()), "{retry}");
            assert_eq!(event, "id: c\nevent: start\ndata: {\"since\":\"c\"}\n\n");
        }
        let text = String::from_utf8(preface("c", true)).unwrap();
        assert!(text.contains("\nid: c\nevent: reset\ndata: {\"since\":\"c\",\"error\":\"what"), "{text}");
        assert!(text.contains("\"code\":\"cursor_expired\"") && !text.contains("event: start"));
    }
}
