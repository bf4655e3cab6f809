//! A file that keeps a lease token across restarts.

use std::path::{Path, PathBuf};

use aurora_discovery_protocol::LeaseToken;

use crate::{Error, private_file};

/// A file with the lease token of one peer, as text, so that a restarted client can prove that it
/// is the holder. [`TokenFile::write`] creates it so that only its owner may read it (mode 0600).
/// [`TokenFile::read`] does not check the mode.
///
/// All methods block the calling thread during file I/O.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Refers to the file at `path`, without opening it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the token. Returns `None` if the file does not exist.
    ///
    /// # Errors
    /// [`Error::TokenFile`] if the file cannot be read or does not contain a token.
    pub fn read(&self) -> Result<Option<LeaseToken>, Error> {
        let text = private_file::read(&self.path).map_err(|error| self.error("cannot be read", &error))?;
        let Some(text) = text else { return Ok(None) };
        LeaseToken::parse(text.trim()).map(Some).map_err(|_| {
            self.error(
                "does not contain a lease token",
                &"remove it to start without one, or name another file",
            )
        })
    }

    /// Replaces the file. When the call returns, the token survives a crash and a loss of power. A
    /// reader sees the old token or the new one, never a part.
    ///
    /// # Errors
    /// [`Error::TokenFile`] if the file cannot be written. It is then unchanged, unless only the
    /// sync of its directory failed. In that case it has the new token, which may not survive a
    /// loss of power.
    pub fn write(&self, token: &LeaseToken) -> Result<(), Error> {
        private_file::replace(&self.path, token.as_str())
            .map_err(|error| self.error("cannot be written", &error))
    }

    /// Checks that the file can be written, without changing it.
    ///
    /// # Errors
    /// [`Error::TokenFile`] if it cannot.
    pub fn check_writable(&self) -> Result<(), Error> {
        private_file::check_writable(&self.path).map_err(|error| self.error("cannot be written", &error))
    }

    fn error(&self, problem: &str, cause: &dyn std::fmt::Display) -> Error {
        Error::TokenFile { path: self.path.clone(), cause: format!("{problem}: {cause}") }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn token(text: &str) -> LeaseToken {
        LeaseToken::parse(text).unwrap()
    }

    #[test]
    fn a_token_file_keeps_the_last_token() {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::new(directory.path().join("alice.token"));
        assert_eq!(file.read().unwrap(), None);
        file.check_writable().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "the check leaves nothing behind");
        for text in ["first", "second"] {
            file.write(&token(text)).unwrap();
            assert_eq!(file.read().unwrap(), Some(token(text)));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn only_its_owner_can_read_a_token_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alice.token");
        // The mode of a file that was there before does not matter.
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        TokenFile::new(&path).write(&token("secret")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_crash_while_a_token_is_written_leaves_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::new(directory.path().join("alice.token"));
        file.write(&token("old")).unwrap();
        fs::write(directory.path().join("alice.token.new"), "ne").unwrap();
        assert_eq!(file.read().unwrap(), Some(token("old")));
        file.check_writable().unwrap();
        file.write(&token("new")).unwrap();
        assert_eq!(file.read().unwrap(), Some(token("new")));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("text"), "no token").unwrap();
        fs::write(at("binary"), b"\xff").unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::write(at("long"), "x".repeat(4_096)).unwrap();
        fs::create_dir(at("directory")).unwrap();
        for name in ["text", "binary", "empty", "long", "directory", "text/child"] {
            let error = TokenFile::new(at(name)).read().unwrap_err().to_string();
            assert!(error.starts_with(&format!("the token file {} ", at(name).display())), "{error}");
        }
        for name in ["directory", "text/child", "missing/child"] {
            let file = TokenFile::new(at(name));
            for error in [file.check_writable().unwrap_err(), file.write(&token("t")).unwrap_err()] {
                let expected = format!("the token file {} cannot be written: ", at(name).display());
                assert!(error.to_string().starts_with(&expected), "{error}");
            }
        }
    }

    /// As root, this test uses a directory of the kernel, because root may write into any other
    /// directory.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_directory_without_permission_to_write_is_an_error_before_anything_is_registered() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let is_root = fs::write(directory.path().join("probe"), "").is_ok();
        let closed = if is_root { Path::new("/sys") } else { directory.path() };
        let error = TokenFile::new(closed.join("alice.token")).check_writable().unwrap_err();
        assert!(error.to_string().contains("alice.token cannot be written: "), "{error}");
    }
}
