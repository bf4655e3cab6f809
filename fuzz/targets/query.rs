//! Arbitrary queries of `GET /discover`, and arbitrary paths.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    aurora_fuzz::send("GET", &format!("/discover?{text}"), b"");
    aurora_fuzz::send("GET", &format!("/{text}"), b"");
});
