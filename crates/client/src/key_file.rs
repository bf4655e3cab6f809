//! A file that contains the private key of a peer.

use std::io;
use std::path::{Path, PathBuf};

use aurora_discovery_protocol::SecretKey;

use crate::{Error, private_file};

/// A file with the private key of one peer, as a JSON Web Key. Only its owner may read it (mode
/// 0600).
///
/// All methods block the calling thread during file I/O.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// Refers to the file at `path`, without opening it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the key. Returns `None` if the file does not exist.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file cannot be read or does not contain a private key of Ed25519,
    /// or if other users have any permission on it.
    pub fn read(&self) -> Result<Option<SecretKey>, Error> {
        let text = private_file::read(&self.path).map_err(|error| self.error("cannot be read", &error))?;
        let Some(text) = text else { return Ok(None) };
        self.check_mode()?;
        SecretKey::from_jwk(&text).map(Some).map_err(|rule| self.error("is not a key file", &rule))
    }

    /// Makes a new key and writes it to the file, which must not exist.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file exists or cannot be written, or if the operating system
    /// returns no random bytes.
    pub fn create(&self) -> Result<SecretKey, Error> {
        let mut random = [0; SecretKey::RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| self.error("cannot be made", &error))?;
        let key = SecretKey::from_random(&random);
        private_file::create_new(&self.path, &key.to_jwk())
            .map_err(|error| self.error("cannot be created", &error))?;
        Ok(key)
    }

    /// Reads the key, or makes one if the file does not exist.
    ///
    /// # Errors
    /// As [`KeyFile::read`] and [`KeyFile::create`].
    pub fn read_or_create(&self) -> Result<SecretKey, Error> {
        match self.read()? {
            Some(key) => Ok(key),
            None => self.create(),
        }
    }

    /// Rejects a file on which other users have any permission, because they may have copied or
    /// replaced the key.
    #[cfg(unix)]
    fn check_mode(&self) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.error("cannot be read", &error))?;
        if metadata.permissions().mode() & 0o077 == 0 {
            return Ok(());
        }
        let kind = io::ErrorKind::PermissionDenied;
        Err(self.error("can be read by other users", &format!("{kind}; run chmod 600 on it")))
    }

    #[cfg(not(unix))]
    fn check_mode(&self) -> Result<(), Error> {
        Ok(())
    }

    fn error(&self, problem: &str, cause: &dyn std::fmt::Display) -> Error {
        Error::KeyFile { path: self.path.clone(), cause: format!("{problem}: {cause}") }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_then_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("alice.key"));
        assert!(file.read().unwrap().is_none());
        let key = file.read_or_create().unwrap().public();
        assert_eq!(file.read_or_create().unwrap().public(), key);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let error = file.create().unwrap_err().to_string();
        assert!(error.contains("alice.key cannot be created"), "{error}");
        assert_eq!(file.read().unwrap().unwrap().public(), key, "the key is not replaced");
    }

    #[test]
    #[cfg(unix)]
    fn a_key_file_of_others_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("alice.key"));
        file.create().unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_without_a_key_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("alice.key"));
        private_file::replace(file.path(), "{}").unwrap();
        assert!(file.read().unwrap_err().to_string().contains("is not a key file"));
    }
}
