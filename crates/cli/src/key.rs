//! The key that signs a peer's registrations.

use std::path::PathBuf;

use aurora_discovery_client::{KeeperOptions, KeyFile, SecretKey, Signer};
use clap::Args;

use crate::failure::Failure;

/// How `register` and `keep` sign a registration.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyArgs {
    /// Sign the registration with the private key in this file, which locks the id to the key. The
    /// file is created if it does not exist.
    #[arg(long, value_name = "PATH")]
    pub(crate) key: Option<PathBuf>,
    /// The key file that the id is locked to so far, if --key is a new one.
    #[arg(long, value_name = "PATH", requires = "key")]
    pub(crate) replaces_key: Option<PathBuf>,
    /// Sign for the service with this name only.
    #[arg(long, value_name = "NAME", requires = "key")]
    pub(crate) audience: Option<String>,
}

impl KeyArgs {
    /// The signer of a single registration; `None` without `--key`.
    pub(crate) fn signer(&self) -> Result<Option<Signer>, Failure> {
        let Some(key) = self.read()? else { return Ok(None) };
        let mut signer = Signer::new(key)?;
        if let Some(old) = self.read_replaced()? {
            signer = signer.replacing(old);
        }
        if let Some(audience) = &self.audience {
            signer = signer.for_audience(audience);
        }
        Ok(Some(signer))
    }

    /// `options` with the key, if there is one.
    pub(crate) fn apply(&self, mut options: KeeperOptions) -> Result<KeeperOptions, Failure> {
        if let Some(key) = self.read()? {
            options = options.key(key);
        }
        if let Some(old) = self.read_replaced()? {
            options = options.replaces_key(old);
        }
        if let Some(audience) = &self.audience {
            options = options.audience(audience);
        }
        Ok(options)
    }

    fn read(&self) -> Result<Option<SecretKey>, Failure> {
        Ok(self.key.as_ref().map(|path| KeyFile::new(path).read_or_create()).transpose()?)
    }

    fn read_replaced(&self) -> Result<Option<SecretKey>, Failure> {
        let Some(path) = &self.replaces_key else { return Ok(None) };
        let missing = || Failure::flag("--replaces-key", format_args!("{} does not exist", path.display()));
        KeyFile::new(path).read()?.map(Some).ok_or_else(missing)
    }
}
