//! The STUN and TURN servers with which peers find a path to each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use aurora_discovery_protocol::{IceServer, PeerId, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};

use crate::options::IceOptions;

/// How long a credential for TURN is valid, in seconds. A peer gets a new one with each heartbeat
/// that requests its mail, and a server accepts the old one for connections that exist already.
const CREDENTIAL_SECONDS: u64 = 12 * 3_600;

/// The servers that the operator has configured.
#[derive(Clone, Default)]
pub struct IceServers {
    stun: Vec<String>,
    turn: Option<Turn>,
}

#[derive(Clone)]
struct Turn {
    urls: Vec<String>,
    secret: Arc<Key>,
}

/// Why the servers can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IceError {
    /// The file with the secret can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file with the secret is empty.
    #[error("{}: has no secret in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// There are URLs of TURN servers without the secret that they share with the service, or the
    /// secret without URLs.
    #[error("the URLs of TURN servers and the secret that they share with the service need each other")]
    Incomplete,
}

impl IceServers {
    /// The servers of these options. Reads the file with the secret.
    ///
    /// # Errors
    /// [`IceError`] says what is wrong with the secret.
    pub fn load(options: &IceOptions) -> Result<Self, IceError> {
        let IceOptions { stun, turn, turn_secret } = options;
        let secret = turn_secret.as_deref().map(read_secret).transpose()?;
        Self::new(stun.clone(), turn.clone(), secret.as_deref())
    }

    /// The servers at these URLs. TURN servers need the secret that they share with the service.
    ///
    /// # Errors
    /// [`IceError::Incomplete`] if there are URLs of TURN servers without the secret, or a secret
    /// without URLs.
    pub fn new(stun: Vec<String>, turn: Vec<String>, secret: Option<&str>) -> Result<Self, IceError> {
        let turn = match secret {
            None if turn.is_empty() => None,
            Some(secret) if !turn.is_empty() => {
                let secret = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
                Some(Turn { urls: turn, secret: Arc::new(secret) })
            }
            None | Some(_) => return Err(IceError::Incomplete),
        };
        Ok(Self { stun, turn })
    }

    /// The servers for a peer, with a TURN credential that is made for it. `now` is the time that
    /// responses show. `None` if the operator has configured no servers.
    pub(crate) fn of_peer(&self, peer: &PeerId, now: Timestamp) -> Option<Vec<IceServer>> {
        let stun = (!self.stun.is_empty()).then(|| IceServer {
            urls: self.stun.clone(),
            username: None,
            credential: None,
        });
        let turn = self.turn.as_ref().map(|turn| {
            // The form that coturn's option `use-auth-secret` expects: the user name begins with
            // the time at which the credential expires, and the credential is the HMAC of the user
            // name.
            let username = format!("{}:{peer}", now.as_secs() + CREDENTIAL_SECONDS);
            let credential = STANDARD.encode(sign(&turn.secret, username.as_bytes()));
            IceServer { urls: turn.urls.clone(), username: Some(username), credential: Some(credential) }
        });
        let servers: Vec<_> = stun.into_iter().chain(turn).collect();
        (!servers.is_empty()).then_some(servers)
    }
}

/// The secret in a file, without white space at its end.
fn read_secret(path: &Path) -> Result<String, IceError> {
    let text = fs::read_to_string(path).map_err(|source| IceError::Read { path: path.to_owned(), source })?;
    match text.trim_end() {
        "" => Err(IceError::Empty { path: path.to_owned() }),
        secret => Ok(secret.to_owned()),
    }
}

impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turn = self.turn.as_ref().map(|turn| &turn.urls);
        f.debug_struct("IceServers").field("stun", &self.stun).field("turn", &turn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn of_alice(servers: &IceServers) -> Option<Vec<IceServer>> {
        servers.of_peer(&PeerId::parse("alice").unwrap(), Timestamp::from_secs(1_759_406_400))
    }

    /// The credential is what this prints:
    /// `printf 1759449600:alice | openssl dgst -sha1 -hmac north -binary | base64`
    #[test]
    fn a_credential_for_turn_is_that_of_use_auth_secret() {
        let stun = urls(&["stun:stun.example:3478"]);
        let turn = urls(&["turn:turn.example:3478?transport=udp", "turns:turn.example:5349"]);
        let servers = IceServers::new(stun.clone(), turn.clone(), Some("north")).unwrap();
        let expected = [
            IceServer { urls: stun, username: None, credential: None },
            IceServer {
                urls: turn,
                username: Some("1759449600:alice".to_owned()),
                credential: Some("Qrga3DVwy47Qj8yY3Me8puHRnNU=".to_owned()),
            },
        ];
        assert_eq!(of_alice(&servers).unwrap(), expected);
        assert!(!format!("{servers:?}").contains("north"));
    }

    #[test]
    fn without_servers_there_is_no_list() {
        assert_eq!(of_alice(&IceServers::default()), None);
        let stun = IceServers::new(urls(&["stun:a"]), Vec::new(), None).unwrap();
        assert_eq!(of_alice(&stun).map(|servers| servers.len()), Some(1));
    }

    #[test]
    fn turn_needs_both_urls_and_a_secret() {
        let is_complete = |turn: &[&str], secret| IceServers::new(Vec::new(), urls(turn), secret).is_ok();
        assert!(is_complete(&["turn:a"], Some("s")) && is_complete(&[], None));
        assert!(!is_complete(&["turn:a"], None) && !is_complete(&[], Some("s")));
    }

    #[test]
    fn the_secret_is_the_line_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let load = || {
            let turn = urls(&["turn:a"]);
            IceServers::load(&IceOptions { stun: Vec::new(), turn, turn_secret: Some(path.clone()) })
        };
        assert!(matches!(load(), Err(IceError::Read { .. })));
        fs::write(&path, "\n").unwrap();
        assert!(matches!(load(), Err(IceError::Empty { .. })));
        fs::write(&path, "north\n").unwrap();
        let servers = of_alice(&load().unwrap()).unwrap();
        assert_eq!(servers[0].credential.as_deref(), Some("Qrga3DVwy47Qj8yY3Me8puHRnNU="));
    }
}
