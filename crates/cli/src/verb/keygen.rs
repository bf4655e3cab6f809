//! `keygen`.

use std::path::PathBuf;

use aurora_discovery_client::KeyFile;
use clap::Args;

use crate::failure::Failure;
use crate::output::print;

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// The file to create, with mode 0600. It must not exist.
    pub(crate) path: PathBuf,
}

/// Makes a private key, and prints its public key, which can be used as a peer's id.
pub(crate) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    print(KeyFile::new(&args.path).create()?.public())
}
