//! Who may send a request: the scopes of API keys, and which of them a request needs.

mod key_file;
mod keys;
mod scope;

use std::sync::Arc;

use aurora_discovery_protocol::Code;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::error::Failure;
use crate::options::ServiceOptions;
use crate::route::Route;

pub use key_file::{KeyFile, KeyFileError};
pub use keys::{InvalidKeys, KeyRing, Keys, key_line};
pub use scope::{InvalidScopes, Scope, Scopes};

/// The header that some gateways and clients send a key in.
const X_API_KEY: &str = "x-api-key";
/// The scheme that precedes a key in `Authorization`. Its case does not matter.
const BEARER: &str = "bearer ";

/// The maximum number of keys in one request that are looked up. Each look-up computes a SHA-256.
const MAX_KEYS: usize = 4;

/// What the API key of a request permits.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The scopes for which a request has to present a key.
    required: Scopes,
    /// Whether the service has a key with the scope `admin`.
    has_admin: bool,
    presented: PresentedKey,
}

/// The API key that a request presents.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PresentedKey {
    None,
    /// The key is not one of the service's keys.
    Unknown,
    /// The service's key with this name.
    Known {
        name: Arc<str>,
        scopes: Scopes,
    },
}

impl Access {
    /// The access of a request with these headers.
    pub(crate) fn of(options: &ServiceOptions, headers: &HeaderMap) -> Self {
        let required = options.require_key.with(Scope::Admin);
        let Some(ring) = &options.keys else {
            return Self { required, has_admin: false, presented: PresentedKey::None };
        };
        let keys = ring.current();
        let has_admin = keys.scopes().has(Scope::Admin);
        let mut presented = PresentedKey::None;
        // A request may have several keys, because a gateway may use one of the headers for a key
        // of its own. The first one that is a key of the service counts.
        for text in key_texts(headers).take(MAX_KEYS) {
            presented = match keys.find(text) {
                Some(key) => PresentedKey::Known { name: key.name.clone(), scopes: key.scopes },
                None => PresentedKey::Unknown,
            };
            if presented != PresentedKey::Unknown {
                break;
            }
        }
        Self { required, has_admin, presented }
    }

    /// Whether the service has this route. It has the routes for operators only if it has a key
    /// with the scope `admin`.
    pub(crate) fn has(&self, route: Route) -> bool {
        route.scope() != Some(Scope::Admin) || self.has_admin
    }

    /// Checks that the request has a key with this scope, if the scope needs a key. Fails with 401
    /// if the request has no key of the service, and with 403 if its key lacks the scope.
    pub(crate) fn check(&self, scope: Scope) -> Result<(), Failure> {
        if !self.required.has(scope) {
            return Ok(());
        }
        match &self.presented {
            PresentedKey::Known { scopes, .. } if scopes.has(scope) => Ok(()),
            PresentedKey::Known { name, .. } => Err(Failure::new(
                Code::Forbidden,
                format!("the key {name} does not have the scope {scope}; send one that does"),
            )),
            PresentedKey::Unknown => Err(Failure::new(
                Code::Unauthorized,
                "the service does not know this key; ask its operator for one",
            )),
            PresentedKey::None => Err(Failure::new(
                Code::Unauthorized,
                "this request needs a key; send Authorization: Bearer KEY, or X-Api-Key: KEY",
            )),
        }
    }

    /// The name of the key, if it is a key of the service.
    pub(crate) fn key_name(&self) -> Option<&Arc<str>> {
        match &self.presented {
            PresentedKey::Known { name, .. } => Some(name),
            PresentedKey::None | PresentedKey::Unknown => None,
        }
    }
}

/// The keys that a request presents: those in `Authorization`, then those in `X-Api-Key`.
fn key_texts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = headers.get_all(AUTHORIZATION).into_iter().filter_map(|value| {
        let text = value.to_str().ok()?;
        let (scheme, key) = text.split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| key.trim())
    });
    bearer.chain(headers.get_all(X_API_KEY).into_iter().filter_map(|value| value.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// The access of a request with these headers to a service that requires keys for the scopes in
    /// `require`. The service has three keys: `r` with the scope `read`, `w` with `write`, and
    /// `a` with `admin` and `read`.
    fn access(require: &str, headers: &[(&'static str, &'static str)]) -> Access {
        let scopes = [("r", "read"), ("w", "write"), ("a", "admin,read")];
        let lines = scopes.map(|(key, scopes)| key_line(key, Scopes::parse(scopes).unwrap(), key));
        let ring = KeyRing::default();
        ring.replace(Keys::parse(&lines.join("\n")).unwrap());
        let require_key = Scopes::parse(require).unwrap_or_default();
        let options = ServiceOptions { keys: Some(ring), require_key, ..ServiceOptions::default() };
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Access::of(&options, &headers.collect())
    }

    fn code(access: &Access, scope: Scope) -> Option<Code> {
        access.check(scope).err().map(|failure| failure.refusal.code)
    }

    #[test]
    fn a_scope_that_needs_no_key_is_open_also_with_an_unknown_one() {
        for headers in [&[][..], &[("authorization", "Bearer x")], &[("authorization", "Basic r")]] {
            let access = access("", headers);
            assert_eq!((code(&access, Scope::Read), code(&access, Scope::Write)), (None, None));
            assert_eq!(code(&access, Scope::Admin), Some(Code::Unauthorized));
        }
    }

    #[test]
    fn a_key_permits_its_scopes_only() {
        for (key, read, write, admin) in [
            ("Bearer r", None, Some(Code::Forbidden), Some(Code::Forbidden)),
            ("bearer w", Some(Code::Forbidden), None, Some(Code::Forbidden)),
            ("BEARER  a", None, Some(Code::Forbidden), None),
            ("Bearer x", Some(Code::Unauthorized), Some(Code::Unauthorized), Some(Code::Unauthorized)),
            ("r", Some(Code::Unauthorized), Some(Code::Unauthorized), Some(Code::Unauthorized)),
        ] {
            let access = access("read,write", &[("authorization", key)]);
            let codes = [Scope::Read, Scope::Write, Scope::Admin].map(|scope| code(&access, scope));
            assert_eq!(codes, [read, write, admin], "{key}");
        }
    }

    #[test]
    fn at_most_four_keys_of_a_request_are_looked_up() {
        let with_unknown_before = |count| {
            let headers = [vec![("x-api-key", "x"); count], vec![("x-api-key", "w")]].concat();
            code(&access("write", &headers), Scope::Write)
        };
        assert_eq!(with_unknown_before(3), None);
        assert_eq!(with_unknown_before(4), Some(Code::Unauthorized));
    }

    #[test]
    fn either_header_may_have_the_key() {
        let of_gateway = access("write", &[("x-api-key", "gateway"), ("authorization", "Bearer w")]);
        let of_proxy = access("write", &[("x-api-key", "w"), ("authorization", "Bearer session")]);
        for access in [of_gateway, of_proxy] {
            assert_eq!(code(&access, Scope::Write), None);
            assert_eq!(access.key_name().map(AsRef::as_ref), Some("w"));
        }
    }
}
