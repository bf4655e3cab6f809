//! Parses cursors. They contain arbitrary text, or an arbitrary position with a valid checksum,
//! which a store must not trust either.
#![no_main]

use aurora_discovery_protocol::Archetype;
use aurora_discovery_registry::{Cursor, Position};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let archetypes: Vec<_> =
        (choice & 1 == 1).then(|| Archetype::parse("pepino").unwrap()).into_iter().collect();
    // The first byte selects a filter, and whether the other bytes are the text or the position.
    let text = if choice & 2 == 2 {
        let position = Position(bytes.to_vec());
        let text = Cursor::encode(&position, &archetypes);
        if let Some(read) = Cursor::decode(&text, &archetypes) {
            assert_eq!(read, position);
        }
        text
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    };
    let filter = if archetypes.is_empty() { "" } else { "&archetype=pepino" };
    aurora_fuzz::send("GET", &format!("/discover?order=all{filter}&cursor={text}"), b"");
});
