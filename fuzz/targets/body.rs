//! Bodies of the requests that peers send. The target `operator` has those of operators.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// The first byte of an input selects one of these paths. Registrations are twice as likely,
/// because they have the most fields.
const PATHS: [&str; 6] = ["/register", "/register", "/heartbeat", "/deregister", "/mail", "/mailbox"];

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let path = PATHS[usize::from(*choice) % PATHS.len()];
    if aurora_fuzz::send("POST", path, body).is_some_and(|response| response.status.is_success()) {
        aurora_fuzz::expect_readable();
    }
});
