//! A file that contains an API key.

use std::path::{Path, PathBuf};

use aurora_discovery_protocol::ApiKey;

use crate::{Error, private_file};

/// A file with an API key. [`ApiKeyFile::create`] creates it so that only its owner may read it
/// (mode 0600). [`ApiKeyFile::read`] does not check the mode.
///
/// All methods block the calling thread during file I/O.
#[derive(Clone, Debug)]
pub struct ApiKeyFile {
    path: PathBuf,
}

impl ApiKeyFile {
    /// Refers to the file at `path`, without opening it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the key.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file does not exist, cannot be read, or does not contain a key.
    pub fn read(&self) -> Result<ApiKey, Error> {
        let text = private_file::read(&self.path).map_err(|error| self.error("cannot be read", &error))?;
        let text = text.ok_or_else(|| self.error("cannot be read", &"it does not exist"))?;
        ApiKey::parse(text.trim()).map_err(|rule| self.error("has no API key", &rule))
    }

    /// Makes a new key and writes it to the file, which must not exist.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file exists or cannot be written, or if the operating system
    /// returns no random bytes.
    pub fn create(&self) -> Result<ApiKey, Error> {
        let mut random = [0; ApiKey::RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| self.error("cannot be made", &error))?;
        let key = ApiKey::from_random(random);
        private_file::create_new(&self.path, key.as_str())
            .map_err(|error| self.error("cannot be created", &error))?;
        Ok(key)
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
        let file = ApiKeyFile::new(directory.path().join("ops.key"));
        assert!(file.read().unwrap_err().to_string().contains("does not exist"));
        let key = file.create().unwrap();
        assert_eq!(key.as_str().len(), 43);
        assert!(file.read().unwrap() == key && file.create().is_err());
        fs::write(file.path(), "two words").unwrap();
        assert!(file.read().unwrap_err().to_string().contains("has no API key"));
    }
}
