//! The API keys of the service. Only their hashes are stored.

use std::fmt::Write as _;
use std::sync::Arc;

use aurora_discovery_protocol::ApiKey;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{InvalidScopes, Scopes};

/// The length of a SHA-256 in bytes.
const HASH_LEN: usize = 32;
/// The maximum length of the name of a key, which is in each line of the audit log.
const MAX_NAME_LEN: usize = 64;
/// The maximum number of keys. Each key that a request presents is compared with all of them, which
/// takes some nanoseconds each.
const MAX_KEYS: usize = 1_000;

/// The keys of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<Key>,
    /// The scopes of all keys together.
    scopes: Scopes,
}

/// A key of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: Arc<str>,
    pub(super) scopes: Scopes,
    hash: [u8; HASH_LEN],
}

/// A line in a list of keys is not a valid key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {rule}")]
pub struct InvalidKeys {
    /// The number of the line, from 1.
    line: usize,
    rule: String,
}

impl Keys {
    /// Parses a list with one key per line: a name, the scopes with commas between them, and the
    /// SHA-256 of the key in hexadecimal digits, separated by white space. `#` begins a comment,
    /// which lasts to the end of the line. Several keys may also share a line, with `;` between
    /// them, for settings that hold only one line, such as environment variables. A name may have
    /// several keys, so that a key can be replaced without an interruption.
    ///
    /// # Errors
    /// [`InvalidKeys`] names the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidKeys> {
        let mut all = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(line, _)| line);
            for entry in line.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
                let key = Key::parse(entry).and_then(|key| all.check(key));
                let key = key.map_err(|rule| InvalidKeys { line: index + 1, rule })?;
                all.scopes = all.scopes.and(key.scopes);
                all.keys.push(key);
            }
        }
        Ok(all)
    }

    fn check(&self, key: Key) -> Result<Key, String> {
        if self.keys.len() >= MAX_KEYS {
            return Err(format!("is beyond the maximum of {MAX_KEYS} keys"));
        }
        match self.keys.iter().find(|other| other.hash == key.hash) {
            Some(other) => Err(format!("has the key of {} again; make another one", other.name)),
            None => Ok(key),
        }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The scopes of all keys together.
    pub(super) fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Finds the known key that `text` equals, by its hash. The hash is compared with those of all
    /// keys, in constant time, so that the duration of the search reveals nothing about them. This
    /// is only a precaution: a client that learned a part of a hash still could not make a key that
    /// has this hash.
    pub(super) fn find(&self, text: &str) -> Option<&Key> {
        // Rejects texts that can't be keys. A long text would otherwise take long to hash.
        ApiKey::parse(text).ok()?;
        let hash: [u8; HASH_LEN] = Sha256::digest(text.as_bytes()).into();
        self.keys.iter().fold(None, |found, key| if key.hash.ct_eq(&hash).into() { Some(key) } else { found })
    }
}

impl Key {
    fn parse(entry: &str) -> Result<Self, String> {
        let words: Vec<_> = entry.split_whitespace().collect();
        let [name, scopes, hash] = words[..] else {
            return Err("must have a name, scopes and the SHA-256 of the key".to_owned());
        };
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) || name.len() > MAX_NAME_LEN {
            return Err(format!("must have a name of at most {MAX_NAME_LEN} visible ASCII characters"));
        }
        let scopes =
            Scopes::parse(scopes).map_err(|InvalidScopes| format!("has scopes that {InvalidScopes}"))?;
        let hash = parse_hash(hash).ok_or("must have the SHA-256 of the key as 64 hexadecimal digits")?;
        Ok(Self { name: name.into(), scopes, hash })
    }
}

fn parse_hash(text: &str) -> Option<[u8; HASH_LEN]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

/// The line of a key in the list that [`Keys::parse`] reads.
pub fn key_line(name: &str, scopes: Scopes, key: &str) -> String {
    let mut line = format!("{name} {scopes} ");
    for byte in Sha256::digest(key.as_bytes()) {
        // Writing to a string never fails.
        let _ = write!(line, "{byte:02x}");
    }
    line
}

/// The keys in use, which can be replaced while requests are handled. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Arc<RwLock<Arc<Keys>>>);

impl KeyRing {
    /// A ring with these keys.
    pub fn new(keys: Keys) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    /// Replaces the keys. Later requests are checked against the new ones.
    pub fn replace(&self, keys: Keys) {
        *self.0.write() = Arc::new(keys);
    }

    pub(super) fn current(&self) -> Arc<Keys> {
        self.0.read().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";

    #[test]
    fn a_line_has_a_name_scopes_and_the_hash_of_the_key() {
        let text = format!(
            "# who may do what\n\n  alice\tread,write {HASH} # laptop\nops admin {}",
            "0A".repeat(32)
        );
        let keys = Keys::parse(&text).unwrap();
        assert_eq!(keys.len(), 2);
        let alice = keys.find("key").unwrap();
        assert_eq!((&*alice.name, alice.scopes.to_string().as_str()), ("alice", "read,write"));
        assert_eq!(keys.scopes().to_string(), "read,write,admin");
        assert!(keys.find("Key").is_none() && keys.find("").is_none());
        assert_eq!(key_line("alice", alice.scopes, "key"), format!("alice read,write {HASH}"));
        assert_eq!(Keys::parse(&text.replace('\n', ";").replace("# who may do what", "")).unwrap().len(), 1);
        assert!(Keys::parse("").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_line_is_named_with_its_rule() {
        for (line, rule) in [
            ("alice", "must have a name"),
            (&format!("alice read {HASH} x"), "must have a name"),
            (&format!("alice all {HASH}"), "must be read, write or admin"),
            (&format!("al\u{e9} read {HASH}"), "visible ASCII"),
            (&format!("{} read {HASH}", "x".repeat(65)), "at most 64"),
            (&format!("alice read {}", &HASH[1..]), "64 hexadecimal digits"),
            (&format!("alice read x{}", &HASH[1..]), "64 hexadecimal digits"),
            (&format!("alice read {HASH}; bob read {HASH}"), "has the key of alice again"),
        ] {
            let error = Keys::parse(&format!("# first\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2 ") && error.contains(rule), "{line}: {error}");
        }
    }

    #[test]
    fn a_ring_uses_its_new_keys_at_once() {
        let ring = KeyRing::default();
        let other = ring.clone();
        ring.replace(Keys::parse(&key_line("a", Scopes::parse("read").unwrap(), "k")).unwrap());
        assert!(other.current().find("k").is_some());
        ring.replace(Keys::default());
        assert!(other.current().find("k").is_none());
    }
}
