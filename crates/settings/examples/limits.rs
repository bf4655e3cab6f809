//! Prints the limits of a registry that the flags and the environment set.
//!
//! `AURORA_TTL_MIN=60 cargo run -p aurora-discovery-settings --example limits -- --ttl-max 600`

use std::error::Error;
use std::io::{self, Write as _};

use aurora_discovery_settings::{RegistryArgs, parse};

fn main() -> Result<(), Box<dyn Error>> {
    let (args, sources) = parse::<RegistryArgs>(std::env::args_os().skip(1))?;
    let limits = args.limits(&sources)?;
    let mut out = io::stdout();
    for (id, value) in [
        ("ttl_min", u64::from(limits.ttl_min.as_secs())),
        ("ttl_max", u64::from(limits.ttl_max.as_secs())),
        ("max_peers", limits.max_peers),
    ] {
        writeln!(out, "{value:>8}  set by {} ({:?})", sources.name(id), sources.source(id))?;
    }
    Ok(())
}
