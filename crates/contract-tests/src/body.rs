//! Request bodies: accepted with any content type, read completely, and limited in size.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;

use crate::caller::{Caller, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;
/// The maximum size of a body.
const MAX_BYTES: usize = 16 * 1_024;

/// A registration of exactly this size.
fn registration(bytes: usize) -> String {
    let bare = json!({"peer_id": unique("peer"), "padding": ""}).to_string();
    bare.replace("\"padding\":\"\"", &format!("\"padding\":\"{}\"", "x".repeat(bytes - bare.len())))
}

/// Registers with a body that is sent in chunks of this size.
async fn register_in_chunks(target: &Target, body: &str, size: usize) -> Response {
    let frame = |chunk: &[u8]| Ok(Frame::data(Bytes::copy_from_slice(chunk)));
    let chunks =
        || StreamBody::new(stream::iter(body.as_bytes().chunks(size).map(frame).collect::<Vec<_>>()));
    Caller::home(target).send("POST", "/register", &[], chunks).await
}

pub async fn a_body_is_read_whatever_its_content_type_says(target: &Target) {
    let caller = Caller::home(target);
    for content_type in [
        &[][..],
        &[("content-type", "application/json")][..],
        &[("content-type", "application/json; charset=utf-8")][..],
        &[("content-type", "application/x-www-form-urlencoded")][..],
        &[("content-type", "text/plain")][..],
        &[("content-type", "multipart/form-data")][..],
        &[("content-type", "image/png")][..],
        &[("content-type", "nonsense")][..],
    ] {
        let id = unique("peer");
        let body = json!({ "peer_id": id }).to_string();
        for path in ["/register", "/heartbeat", "/deregister"] {
            let response = caller.call("POST", path, content_type, body.as_bytes()).await;
            assert_eq!(response.ok()["peer_id"], id, "{content_type:?}");
        }
    }
}

pub async fn a_body_may_come_in_chunks(target: &Target) {
    if !target.sees_transfer {
        return;
    }
    for size in [1, 7, 1_000] {
        register_in_chunks(target, &registration(500), size).await.ok();
    }
}

pub async fn a_body_may_have_16_kib_and_not_a_byte_more(target: &Target) {
    let caller = Caller::home(target);
    caller.post("/register", &registration(MAX_BYTES)).await.ok();
    let too_large = caller.post("/register", &registration(MAX_BYTES + 1)).await;
    assert!(too_large.refused(413, "body_too_large", None).contains("16384"));
}

pub async fn a_chunked_body_is_bounded_the_same(target: &Target) {
    if !target.sees_transfer {
        return;
    }
    register_in_chunks(target, &registration(MAX_BYTES), 4_096).await.ok();
    let too_large = register_in_chunks(target, &registration(MAX_BYTES + 1), 4_096).await;
    too_large.refused(413, "body_too_large", None);
}

pub async fn a_length_far_too_large_is_refused_before_the_body_comes(target: &Target) {
    if !target.sees_transfer {
        return;
    }
    let announced = [("content-length", "1000000000")];
    let begun = || {
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{")))]);
        StreamBody::new(first.chain(stream::pending()))
    };
    let response = Caller::home(target).send("POST", "/register", &announced, begun).await;
    response.refused(413, "body_too_large", None);
}

pub async fn a_body_that_is_no_object_is_refused(target: &Target) {
    let caller = Caller::home(target);
    for path in ["/register", "/heartbeat", "/deregister"] {
        for body in
            ["", " ", "[]", "7", "null", "\"{}\"", "{", "{}}", "peer_id=p", "{'peer_id':'p'}", "\u{feff}{}"]
        {
            caller.post(path, body).await.refused(400, "invalid_body", None);
        }
    }
}

pub async fn a_body_that_is_not_utf_8_is_refused(target: &Target) {
    let caller = Caller::home(target);
    let typed = [&[("content-type", "application/octet-stream")][..], &[]];
    let types = if target.sees_bytes { &typed[..] } else { &typed[..1] };
    for body in
        [&b"{\"peer_id\":\"\xff\"}"[..], b"{\"peer_id\":\"p\",\"x\":\"\xed\xa0\x80\"}", b"\xff\xfe{\0}\0"]
    {
        for headers in types {
            caller.call("POST", "/register", headers, body).await.refused(400, "invalid_body", None);
        }
    }
}

pub async fn a_key_written_twice_is_refused(target: &Target) {
    let caller = Caller::home(target);
    for body in [
        r#"{"peer_id":"p","peer_id":"p"}"#,
        r#"{"peer_id":"p","x":1,"x":1}"#,
        r#"{"peer_id":"p","x":1,"\u0078":2}"#,
    ] {
        caller.post("/heartbeat", body).await.refused(400, "invalid_body", None);
    }
}

pub async fn a_body_with_a_get_has_no_meaning(target: &Target) {
    let caller = Caller::home(target);
    assert_eq!(caller.call("GET", "/health", &[], b"not json").await.ok(), json!({"status": "healthy"}));
    caller.call("GET", "/discover", &[], b"{").await.ok();
}
