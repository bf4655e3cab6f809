//! Request bodies: accepted with any content type, read completely, and limited in size.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;

use crate::client::{Client, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;
/// The maximum size of a body in bytes.
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
    Client::first(target).send("POST", "/register", &[], chunks).await
}

pub async fn a_body_is_parsed_as_json_whatever_its_content_type(target: &Target) {
    let client = Client::first(target);
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
            let response = client.request("POST", path, content_type, body.as_bytes()).await;
            assert_eq!(response.ok()["peer_id"], id, "{content_type:?}");
        }
    }
}

pub async fn a_body_may_be_sent_in_chunks(target: &Target) {
    if !target.passes_bodies_unchanged {
        return;
    }
    for size in [1, 7, 1_000] {
        register_in_chunks(target, &registration(500), size).await.ok();
    }
}

pub async fn a_body_may_have_at_most_16_kib(target: &Target) {
    let client = Client::first(target);
    client.post("/register", &registration(MAX_BYTES)).await.ok();
    let too_large = client.post("/register", &registration(MAX_BYTES + 1)).await;
    assert!(too_large.refused(413, "body_too_large", None).contains("16384"));
}

pub async fn a_chunked_body_has_the_same_limit(target: &Target) {
    if !target.passes_bodies_unchanged {
        return;
    }
    register_in_chunks(target, &registration(MAX_BYTES), 4_096).await.ok();
    let too_large = register_in_chunks(target, &registration(MAX_BYTES + 1), 4_096).await;
    too_large.refused(413, "body_too_large", None);
}

pub async fn a_far_too_large_length_is_rejected_before_the_body_arrives(target: &Target) {
    if !target.passes_bodies_unchanged {
        return;
    }
    let announced = [("content-length", "1000000000")];
    let begun = || {
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{")))]);
        StreamBody::new(first.chain(stream::pending()))
    };
    let response = Client::first(target).send("POST", "/register", &announced, begun).await;
    response.refused(413, "body_too_large", None);
}

pub async fn a_body_that_is_not_an_object_is_rejected(target: &Target) {
    let client = Client::first(target);
    for path in ["/register", "/heartbeat", "/deregister"] {
        for body in
            ["", " ", "[]", "7", "null", "\"{}\"", "{", "{}}", "peer_id=p", "{'peer_id':'p'}", "\u{feff}{}"]
        {
            client.post(path, body).await.refused(400, "invalid_body", None);
        }
    }
}

pub async fn a_body_that_is_not_utf_8_is_rejected(target: &Target) {
    let client = Client::first(target);
    let typed = [&[("content-type", "application/octet-stream")][..], &[]];
    let types = if target.passes_binary_bodies { &typed[..] } else { &typed[..1] };
    for body in
        [&b"{\"peer_id\":\"\xff\"}"[..], b"{\"peer_id\":\"p\",\"x\":\"\xed\xa0\x80\"}", b"\xff\xfe{\0}\0"]
    {
        for headers in types {
            client.request("POST", "/register", headers, body).await.refused(400, "invalid_body", None);
        }
    }
}

pub async fn a_duplicate_key_is_rejected(target: &Target) {
    let client = Client::first(target);
    for body in [
        r#"{"peer_id":"p","peer_id":"p"}"#,
        r#"{"peer_id":"p","x":1,"x":1}"#,
        r#"{"peer_id":"p","x":1,"\u0078":2}"#,
    ] {
        client.post("/heartbeat", body).await.refused(400, "invalid_body", None);
    }
}

pub async fn the_body_of_a_get_is_ignored(target: &Target) {
    let client = Client::first(target);
    assert_eq!(client.request("GET", "/health", &[], b"not json").await.ok(), json!({"status": "healthy"}));
    client.request("GET", "/discover", &[], b"{").await.ok();
}
