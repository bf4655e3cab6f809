//! Describes a request body that is not a JSON object. The description tells the sender what the
//! service received, and what to send instead.

use std::fmt::Display;

use serde::de::IgnoredAny;

use crate::Refusal;

/// The refusal of a `body` that is not a JSON object. `error` is the parser's error.
#[cold]
pub(crate) fn refuse(body: &[u8], error: impl Display) -> Refusal {
    let (received, remedy) = match body {
        [0xEF, 0xBB, 0xBF, ..] => ("begins with a byte order mark", "send UTF-8 without one"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => ("is UTF-16", "encode it as UTF-8"),
        [0x1F, 0x8B, ..] | [0x28, 0xB5, 0x2F, 0xFD, ..] => ("is compressed", "send it uncompressed"),
        _ => match std::str::from_utf8(body).map(str::trim) {
            Ok(text) if text.starts_with('{') => {
                return Refusal::body(format!("the body is not valid JSON: {error}"));
            }
            Ok(text) => (kind(text), "send a JSON object, {…}"),
            Err(error) => {
                let valid = error.valid_up_to();
                return Refusal::body(format!(
                    "the body is not UTF-8 from byte {valid} on; send a JSON object in UTF-8"
                ));
            }
        },
    };
    Refusal::body(format!("the body {received}; {remedy}"))
}

/// Describes a body that does not begin with `{`.
fn kind(text: &str) -> &'static str {
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    match text.as_bytes() {
        [] => "is empty",
        [b'[', ..] if is_json => "is a JSON list",
        [b'"', ..] if is_json => "is a JSON string",
        _ if is_json => "is a JSON number, true, false or null",
        [b'<', ..] => "is HTML or XML",
        [b'-', b'-', ..] => "is a multipart form",
        [b'\'', ..] => "begins with a single quote, which the shell has left in place",
        _ if text.contains('=') || text.starts_with("%7B") => "is a form (key=value)",
        _ => "is not JSON",
    }
}

#[cfg(test)]
mod tests {
    use crate::{Code, DeregisterRequest};

    #[test]
    fn a_refusal_says_what_arrived_and_what_to_send() {
        let object = "send a JSON object, {…}";
        for (body, received, remedy) in [
            (&b""[..], "is empty", object),
            (b" \r\n", "is empty", object),
            (b"\xEF\xBB\xBF{\"peer_id\":\"a\"}", "begins with a byte order mark", "send UTF-8 without one"),
            (b"\xFF\xFE{\0}\0", "is UTF-16", "encode it as UTF-8"),
            (b"\xFE\xFF\0{\0}", "is UTF-16", "encode it as UTF-8"),
            (b"\x1F\x8B\x08\0", "is compressed", "send it uncompressed"),
            (b"\x28\xB5\x2F\xFD\0", "is compressed", "send it uncompressed"),
            (b"peer_id=a&port=1", "is a form (key=value)", object),
            (b"%7B%22peer_id%22%3A%22a%22%7D", "is a form (key=value)", object),
            (b"--x\r\nContent-Disposition: form-data; name=\"a\"", "is a multipart form", object),
            (b"[{\"peer_id\":\"a\"}]", "is a JSON list", object),
            (b"\"a\"", "is a JSON string", object),
            (b"-7", "is a JSON number, true, false or null", object),
            (b"null", "is a JSON number, true, false or null", object),
            (b"<html>", "is HTML or XML", object),
            (b"'{peer_id:a}'", "begins with a single quote, which the shell has left in place", object),
            (b"[1", "is not JSON", object),
            (b"peer", "is not JSON", object),
        ] {
            let refusal = DeregisterRequest::from_body(body).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidBody);
            assert_eq!(refusal.message, format!("the body {received}; {remedy}"));
        }
    }

    #[test]
    fn a_broken_object_is_refused_with_the_position_of_the_error() {
        for (body, position) in [
            (&b"{\"peer_id\":"[..], "is not valid JSON: EOF while parsing a value at line 1 column 11"),
            (b"{peer_id:1}", "is not valid JSON: key must be a string at line 1 column 2"),
            (b"{\"peer_id\":\"\xFF\"}", "is not UTF-8 from byte 12 on; send a JSON object in UTF-8"),
        ] {
            let refusal = DeregisterRequest::from_body(body).unwrap_err();
            assert_eq!(refusal.message, format!("the body {position}"));
        }
    }
}
