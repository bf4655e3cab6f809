//! Bodies: whatever their content type, whole, and bounded.

use serde_json::json;

use crate::caller::{Caller, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;
/// The largest body.
const MAX_BYTES: usize = 16 * 1_024;

/// A registration of exactly so many bytes.
fn registration(bytes: usize) -> String {
    let bare = json!({"peer_id": unique("peer"), "padding": ""}).to_string();
    bare.replace("\"padding\":\"\"", &format!("\"padding\":\"{}\"", "x".repeat(bytes - bare.len())))
}

fn chunked(body: &str, size: usize) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.as_bytes().chunks(size) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

pub async fn a_body_is_read_whatever_its_content_type_says(target: &Target) {
    let caller = Caller::home(target);
    for content_type in [
        "",
        "content-type: application/json\r\n",
        "content-type: application/json; charset=utf-8\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: text/plain\r\n",
        "content-type: multipart/form-data\r\n",
        "content-type: image/png\r\n",
        "content-type: nonsense\r\n",
    ] {
        let id = unique("peer");
        let body = json!({ "peer_id": id }).to_string();
        for path in ["/register", "/heartbeat", "/deregister"] {
            let reply = caller.call("POST", path, content_type, body.as_bytes()).await;
            assert_eq!(reply.ok()["peer_id"], id, "{content_type}");
        }
    }
}

pub async fn a_body_may_come_in_chunks(target: &Target) {
    if !target.sees_transfer {
        return;
    }
    for size in [1, 7, 1_000] {
        let body = chunked(&registration(500), size);
        Caller::home(target).raw("POST", "/register", CHUNKED, &body).await.ok();
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
    let caller = Caller::home(target);
    let fits = chunked(&registration(MAX_BYTES), 4_096);
    caller.raw("POST", "/register", CHUNKED, &fits).await.ok();
    let too_large = chunked(&registration(MAX_BYTES + 1), 4_096);
    caller.raw("POST", "/register", CHUNKED, &too_large).await.refused(413, "body_too_large", None);
}

pub async fn a_length_far_too_large_is_refused_before_the_body_comes(target: &Target) {
    if !target.sees_transfer {
        return;
    }
    let announced = "content-length: 1000000000\r\n";
    let reply = Caller::home(target).raw("POST", "/register", announced, b"{").await;
    reply.refused(413, "body_too_large", None);
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
    let typed = ["content-type: application/octet-stream\r\n", ""];
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
    assert_eq!(caller.call("GET", "/health", "", b"not json").await.ok(), json!({"status": "healthy"}));
    caller.call("GET", "/discover", "", b"{").await.ok();
}
