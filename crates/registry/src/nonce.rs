//! Nonces for clients whose clock is wrong. Such a client signs a nonce instead of the time.
//!
//! A nonce is a message authentication code (HMAC) over the peer, the key and the minute. The
//! service recognizes its nonces without storing them, and no other peer or key can use a nonce.

use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, PublicKey, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{Store, StoreError};

/// The length of a minute in milliseconds.
const MINUTE: u64 = 60_000;
/// A nonce is accepted for this many minutes after the minute in which it was issued.
const LIFE_MINUTES: u64 = 5;

/// Issues nonces and recognizes them.
#[derive(Clone)]
pub(crate) struct Nonces {
    /// The secret of this process, for a store that no other process shares. After a restart, older
    /// nonces are refused, and their clients get new ones.
    own_secret: Arc<[u8; 32]>,
}

impl Default for Nonces {
    fn default() -> Self {
        let mut secret = [0; 32];
        // The fallback is not cryptographically secure. This is acceptable: a client that guessed
        // the secret could only make nonces for records that it signs itself, and so make these
        // records valid for longer.
        if getrandom::fill(&mut secret).is_err() {
            fastrand::fill(&mut secret);
        }
        Self { own_secret: Arc::new(secret) }
    }
}

impl Nonces {
    /// The nonce of a peer and a key at a time of the service's clock.
    pub(crate) async fn issue(
        &self,
        store: &dyn Store,
        peer: &PeerId,
        key: &PublicKey,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        Ok(URL_SAFE_NO_PAD
            .encode(code(&self.secret(store).await?, peer, key, minute(now)).finalize().into_bytes()))
    }

    /// Whether a nonce was issued for the peer and the key in this minute or in one of the
    /// [`LIFE_MINUTES`] minutes before it.
    pub(crate) async fn accepts(
        &self,
        nonce: &str,
        store: &dyn Store,
        peer: &PeerId,
        key: &PublicKey,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Ok(nonce) = URL_SAFE_NO_PAD.decode(nonce) else { return Ok(false) };
        let secret = self.secret(store).await?;
        let mut minutes = (0..=LIFE_MINUTES).filter_map(|age| minute(now).checked_sub(age));
        Ok(minutes.any(|minute| code(&secret, peer, key, minute).verify_slice(&nonce).is_ok()))
    }

    async fn secret(&self, store: &dyn Store) -> Result<[u8; 32], StoreError> {
        Ok(store.shared_secret().await?.unwrap_or(*self.own_secret))
    }
}

fn minute(time: Timestamp) -> u64 {
    time.as_millis() / MINUTE
}

fn code(secret: &[u8; 32], peer: &PeerId, key: &PublicKey, minute: u64) -> Hmac<Sha256> {
    // `Hmac::new` takes a key of one block. HMAC itself fills a shorter key with zeros, so this is
    // the standard result.
    let mut block = [0; 64];
    block[..secret.len()].copy_from_slice(secret);
    let mut code = Hmac::<Sha256>::new(&block.into());
    for part in [&b"aurora nonce\0"[..], &key.to_bytes()[..], &minute.to_be_bytes(), peer.as_str().as_bytes()]
    {
        code.update(part);
    }
    code
}
