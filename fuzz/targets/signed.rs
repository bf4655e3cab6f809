//! Signed registrations: arbitrary records, and records whose header and payload are arbitrary.
#![no_main]

use aurora_discovery_protocol::{SignedRecord, Ttl};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    // The first byte selects the form. A line feed separates the header from the payload.
    let text = if choice & 1 == 1 {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (header, payload) = bytes.split_at(end);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}.{}", encode(header), encode(payload.get(1..).unwrap_or_default()), encode(&[0; 64]))
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    };
    // The service parses the content only after it has verified the signature, which is invalid in
    // arbitrary records. So the content is also parsed here.
    if let Ok(record) = SignedRecord::parse(&text) {
        let _ = record.content(Ttl::from_secs(1)..=Ttl::from_secs(u32::MAX));
        assert_eq!(record.as_str(), text);
    }
    let body = serde_json::json!({ "signed": text }).to_string();
    if aurora_fuzz::send("POST", "/register", body.as_bytes()).is_some_and(|response| response.status.is_success()) {
        aurora_fuzz::expect_readable();
    }
});
