//! The prefix that a reverse proxy leaves in front of the paths of the API.

use http::Uri;
use http::uri::PathAndQuery;

/// `uri` without the prefix; `None` if it does not begin with it.
pub(crate) fn without_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(prefix)?;
    let path = match rest.chars().next() {
        Some('/') => PathAndQuery::try_from(rest),
        Some('?') | None => PathAndQuery::try_from(format!("/{rest}")),
        // The prefix must be whole segments: `/developer` does not begin with `/dev`.
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_removed_only_at_a_segment_boundary() {
        for (uri, rest) in [
            ("/dev/discover?limit=1", Some("/discover?limit=1")),
            ("/dev/health/", Some("/health/")),
            ("/dev", Some("/")),
            ("/dev?x", Some("/?x")),
            ("https://host/dev/health", Some("https://host/health")),
            ("/dev/dev/health", Some("/dev/health")),
            ("/developer", None),
            ("/discover", None),
            ("*", None),
        ] {
            let found = without_prefix(&uri.parse().unwrap(), "/dev");
            assert_eq!(found.map(|uri| uri.to_string()).as_deref(), rest, "{uri}");
        }
    }
}
