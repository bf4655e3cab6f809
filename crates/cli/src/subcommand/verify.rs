//! `verify`.

use std::io::{self, Read as _};

use aurora_discovery_client::{PublicKey, SignedRecord};
use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{print, print_json};

/// The longest record that is read, in bytes; none that a service accepts is longer.
const MAX_BYTES: u64 = 64 << 10;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The signed registration, as `discover --full --json` lists it under `signed`; `-` reads it
    /// from standard input.
    pub(crate) record: String,
    /// The key that must have signed it.
    #[arg(long, value_name = "DID", value_parser = PublicKey::parse)]
    pub(crate) key: Option<PublicKey>,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct Verified<'a> {
    peer_id: &'a str,
    signed_by: PublicKey,
    seq: u64,
}

/// Verifies a signed registration, without a service.
pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let mut text = args.record.clone();
    if text == "-" {
        text.clear();
        io::stdin().take(MAX_BYTES).read_to_string(&mut text)?;
    }
    let record = SignedRecord::parse(text.trim()).map_err(Failure::other)?;
    let signed_by = record.verify().map_err(Failure::other)?;
    if args.key.is_some_and(|key| key != signed_by) {
        return Err(Failure::Other(format!("the record is signed by {signed_by}")));
    }
    let (peer_id, seq) = (record.peer_id().as_str(), record.seq());
    if args.json {
        return print_json(&Verified { peer_id, signed_by, seq });
    }
    print(format_args!("{peer_id} is signed by {signed_by} with seq {seq}"))
}
