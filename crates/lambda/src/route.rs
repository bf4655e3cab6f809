//! Derives the path of a request from the resource that the gateway matched, because that resource
//! includes neither the stage nor the base path.

use std::borrow::Cow;

use aurora_discovery_http::Route;

/// The name of an HTTP API's default stage, which does not appear in the path.
const DEFAULT_STAGE: &str = "$default";
/// The parameter of the resource `/{proxy+}`.
pub(crate) const PROXY: &str = "proxy";

/// The parts of an event that describe the path of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatchedRoute<'a> {
    /// The resource as the API declares it (`/discover`, `/{proxy+}`, `/`). `None` or `$default`
    /// means that no resource was matched.
    pub(crate) resource: Option<&'a str>,
    /// The value of `{proxy+}`.
    pub(crate) proxy: Option<&'a str>,
    /// The path as the client sent it, for a gateway that matches no resources.
    pub(crate) raw_path: &'a str,
    /// The stage, which is the first segment of `raw_path` unless it is `$default`.
    pub(crate) stage: Option<&'a str>,
}

impl<'a> MatchedRoute<'a> {
    /// The path for the service.
    pub(crate) fn path(self) -> Cow<'a, str> {
        match (self.resource.filter(|resource| *resource != DEFAULT_STAGE), self.proxy) {
            (Some(_), Some(proxy)) => format!("/{proxy}").into(),
            (Some(resource), None) => api_path(resource).into(),
            (None, _) => self.without_stage().into(),
        }
    }

    /// The path as the client sent it, without the stage at its start.
    fn without_stage(self) -> &'a str {
        let stage = self.stage.filter(|stage| *stage != DEFAULT_STAGE);
        // The stage must be a whole segment: `/developer` does not start with the stage `dev`.
        let rest = stage.and_then(|stage| self.raw_path.strip_prefix('/')?.strip_prefix(stage));
        match rest {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => self.raw_path,
        }
    }
}

/// The path of the API that `resource` ends with: an operator may declare the path under a prefix
/// such as `/v1`. If `resource` ends with no path of the API, `resource` itself.
fn api_path(resource: &str) -> &str {
    Route::ALL.into_iter().map(Route::path).find(|path| resource.ends_with(path)).unwrap_or(resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(resource: Option<&str>, proxy: Option<&str>, raw_path: &str, stage: Option<&str>) -> String {
        MatchedRoute { resource, proxy, raw_path, stage }.path().into_owned()
    }

    #[test]
    fn the_path_is_that_of_the_matched_resource() {
        for raw_path in ["/discover", "/dev/discover", "/p2p/dev/discover", "/p2p/register"] {
            assert_eq!(path(Some("/discover"), None, raw_path, Some("dev")), "/discover");
            assert_eq!(path(Some("/{proxy+}"), Some("discover"), raw_path, Some("dev")), "/discover");
        }
        assert_eq!(path(Some("/v1/discover"), None, "/v1/discover", Some("dev")), "/discover");
        assert_eq!(path(Some("/"), None, "/p2p", Some("dev")), "/");
    }

    #[test]
    fn a_proxy_parameter_is_the_whole_path() {
        for (proxy, expected) in
            [("nowhere", "/nowhere"), ("a/discover", "/a/discover"), ("health/", "/health/")]
        {
            assert_eq!(path(Some("/{proxy+}"), Some(proxy), "/p2p/x", Some("dev")), expected);
        }
    }

    #[test]
    fn without_a_matched_resource_the_stage_is_removed_from_the_path() {
        assert_eq!(path(Some(DEFAULT_STAGE), None, "/discover", Some(DEFAULT_STAGE)), "/discover");
        assert_eq!(path(Some(DEFAULT_STAGE), None, "/dev/discover", Some("dev")), "/discover");
        assert_eq!(path(Some(DEFAULT_STAGE), None, "/developer", Some("dev")), "/developer");
        assert_eq!(path(None, None, "/dev", Some("dev")), "/");
    }
}
