//! What operators write: the file of API keys, and the bodies of requests for administration.
#![no_main]

use aurora_discovery_http::Keys;
use aurora_discovery_protocol::{BlockRequest, SourcePrefix, SubjectRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match choice % 4 {
        0 => {
            if let Ok(keys) = Keys::parse(&text) {
                assert!(keys.len() <= bytes.len() / 64);
            }
        }
        1 => {
            if let Ok(prefix) = SourcePrefix::parse(&text) {
                assert_eq!(SourcePrefix::parse(&prefix.to_string()).expect("its own text"), prefix);
            }
        }
        2 => {
            if let Ok(request) = BlockRequest::from_body(bytes) {
                let written = serde_json::to_vec(&request).expect("JSON");
                assert_eq!(BlockRequest::from_body(&written).expect("its own text"), request);
            }
        }
        _ => {
            if let Ok(request) = SubjectRequest::from_body(bytes) {
                let written = serde_json::to_vec(&request).expect("JSON");
                assert_eq!(SubjectRequest::from_body(&written).expect("its own text"), request);
            }
        }
    }
});
