//! The paths of the API and their methods.

use http::{HeaderValue, Method};

use crate::access::Scope;
use crate::rate::Charge;

/// A path of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `POST /register`
    Register,
    /// `GET /discover`
    Discover,
    /// `POST /heartbeat`
    Heartbeat,
    /// `POST /deregister`
    Deregister,
    /// `POST /mail`
    Mail,
    /// `POST /mailbox`
    Mailbox,
    /// `GET /health`
    Health,
    /// `GET /livez`
    Livez,
    /// `GET /readyz`
    Readyz,
    /// `GET /network`
    Network,
    /// `GET /watch`
    Watch,
    /// `GET /sd/prometheus`
    Prometheus,
    /// `GET /openapi.json`
    OpenApi,
    /// `POST /admin/evict`
    Evict,
    /// `POST /admin/block`
    Block,
    /// `POST /admin/unblock`
    Unblock,
    /// `GET /admin/blocks`
    Blocks,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 17] = [
        Self::Register,
        Self::Discover,
        Self::Heartbeat,
        Self::Deregister,
        Self::Mail,
        Self::Mailbox,
        Self::Health,
        Self::Livez,
        Self::Readyz,
        Self::Network,
        Self::Watch,
        Self::Prometheus,
        Self::OpenApi,
        Self::Evict,
        Self::Block,
        Self::Unblock,
        Self::Blocks,
    ];

    /// The path of the route; requests may append a slash.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Register => "/register",
            Self::Discover => "/discover",
            Self::Heartbeat => "/heartbeat",
            Self::Deregister => "/deregister",
            Self::Mail => "/mail",
            Self::Mailbox => "/mailbox",
            Self::Health => "/health",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Network => "/network",
            Self::Watch => "/watch",
            Self::Prometheus => "/sd/prometheus",
            Self::OpenApi => "/openapi.json",
            Self::Evict => "/admin/evict",
            Self::Block => "/admin/block",
            Self::Unblock => "/admin/unblock",
            Self::Blocks => "/admin/blocks",
        }
    }

    /// The method of the route. `HEAD` is handled like `GET`, and `OPTIONS` is accepted on every
    /// route.
    pub const fn method(self) -> Method {
        match self {
            Self::Register
            | Self::Heartbeat
            | Self::Deregister
            | Self::Mail
            | Self::Mailbox
            | Self::Evict
            | Self::Block
            | Self::Unblock => Method::POST,
            Self::Discover
            | Self::Health
            | Self::Livez
            | Self::Readyz
            | Self::Network
            | Self::Watch
            | Self::Prometheus
            | Self::OpenApi
            | Self::Blocks => Method::GET,
        }
    }

    /// Whether the handler of the route accepts this method.
    pub(crate) fn accepts_method(self, method: &Method) -> bool {
        *method == self.method() || (*method == Method::HEAD && self.method() == Method::GET)
    }

    /// The rate limit that a request counts against. `None` for health checks, which are served
    /// even if their source exceeds its rate: a monitor must get a response, however many requests
    /// other clients at its address send.
    pub(crate) const fn charge(self) -> Option<Charge> {
        match self {
            Self::Health | Self::Livez | Self::Readyz => None,
            Self::Heartbeat => Some(Charge::Heartbeats),
            Self::Register
            | Self::Discover
            | Self::Deregister
            | Self::Mail
            | Self::Mailbox
            | Self::Network
            | Self::Watch
            | Self::Prometheus
            | Self::OpenApi
            | Self::Evict
            | Self::Block
            | Self::Unblock
            | Self::Blocks => Some(Charge::Requests),
        }
    }

    /// The scope of the API key that a request needs if the operator requires keys for that scope.
    /// `None` if the route never needs a key.
    pub(crate) const fn scope(self) -> Option<Scope> {
        match self {
            Self::Health | Self::Livez | Self::Readyz | Self::OpenApi => None,
            Self::Discover | Self::Network | Self::Watch | Self::Prometheus => Some(Scope::Read),
            Self::Register | Self::Heartbeat | Self::Deregister | Self::Mail | Self::Mailbox => {
                Some(Scope::Write)
            }
            Self::Evict | Self::Block | Self::Unblock | Self::Blocks => Some(Scope::Admin),
        }
    }

    /// Whether a request needs one of the permits that limit how many handlers run at once.
    /// `/livez` needs none: if it failed during an overload, a supervisor would restart a process
    /// that is only busy.
    pub(crate) const fn needs_permit(self) -> bool {
        !matches!(self, Self::Livez)
    }

    /// The route of a path, with or without a slash at the end. `None` if the API has no such path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        Self::ALL.into_iter().find(|route| route.path() == path)
    }

    /// The value of `Allow` in a 405 response.
    pub(crate) fn allow(self) -> HeaderValue {
        HeaderValue::from_static(if self.method() == Method::GET {
            "GET, HEAD, OPTIONS"
        } else {
            "POST, OPTIONS"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_does_not_change_the_route() {
        for route in Route::ALL {
            assert_eq!(Route::of(route.path()), Some(route));
            assert_eq!(Route::of(&format!("{}/", route.path())), Some(route));
            assert_eq!(Route::of(&format!("{}//", route.path())), None);
        }
        for path in ["", "/", "*", "/Register", "/discover/x"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
