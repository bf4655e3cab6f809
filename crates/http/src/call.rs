//! One call as its handler sees it: decoded as far as every handler needs it.

use std::borrow::Cow;
use std::net::IpAddr;

use aurora_protocol::{Code, DiscoverRequest, FollowRequest, PageFigures, PeerList, Refusal, Timestamp};
use aurora_registry::{Discovered, Registry};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use crate::error::Failure;
use crate::metrics::Metrics;
use crate::watch::Watchers;

/// What a handler is given.
pub(crate) struct Call<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) metrics: &'a Metrics,
    /// Where the request came from.
    pub(crate) source: IpAddr,
    /// All that watch.
    pub(crate) watchers: &'a Watchers,
    /// What a stream that was lost said last, if a client comes back to it.
    pub(crate) last_event_id: Option<&'a [u8]>,
    pub(crate) now: Timestamp,
    /// The query as it was written, without its question mark.
    pub(crate) query: &'a str,
    pub(crate) body: Bytes,
}

impl Call<'_> {
    /// What the query asks of `/discover`: a page, or what changed.
    pub(crate) fn query(&self) -> Result<Asked, Refusal> {
        let (parameters, bounds) = (parameters(self.query)?, self.registry.limits().discover);
        if parameters.iter().any(|(name, _)| name == FollowRequest::SINCE) {
            return FollowRequest::from_parameters(parameters.into_iter(), bounds).map(Asked::Changes);
        }
        DiscoverRequest::from_parameters(parameters.into_iter(), bounds).map(Asked::Page)
    }

    /// What the query asks of `/watch`. A limit means nothing to what has no end.
    pub(crate) fn watching(&self) -> Result<FollowRequest, Refusal> {
        let parameters = parameters(self.query)?.into_iter().filter(|(name, _)| name != "limit");
        FollowRequest::from_parameters(parameters, self.registry.limits().discover)
    }

    /// Takes up the page that rides along with another call, before that call changes anything.
    ///
    /// A cursor may be refused, and a refused call must not have changed anything: such a page is fetched now. Any other is
    /// fetched in its turn, so that it shows what the call did.
    pub(crate) async fn page(&self, request: Option<DiscoverRequest>) -> Result<RidingPage, Failure> {
        Ok(match request {
            None => RidingPage::None,
            Some(request) if request.cursor.is_none() => RidingPage::Asked(request),
            Some(request) => RidingPage::Fetched(self.registry.discover(request, self.now).await?),
        })
    }
}

/// What is asked of `/discover`.
pub(crate) enum Asked {
    Page(DiscoverRequest),
    Changes(FollowRequest),
}

/// The page that rides along with a call, if one does.
pub(crate) enum RidingPage {
    None,
    Asked(DiscoverRequest),
    Fetched(Discovered),
}

impl RidingPage {
    /// The list and what is said about it, once the call it rides with is done.
    pub(crate) async fn turn(
        self,
        call: &Call<'_>,
    ) -> Result<(Option<PeerList>, Option<PageFigures>), Failure> {
        let Discovered { peers, figures } = match self {
            Self::None => return Ok((None, None)),
            Self::Asked(request) => call.registry.discover(request, call.now).await?,
            Self::Fetched(page) => page,
        };
        call.metrics.paged();
        Ok((Some(peers), Some(figures)))
    }
}

type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters of a query, decoded as forms are: `+` is a space, `%XX` a byte of UTF-8. One that can't be decoded is refused if
/// it is known, and ignored as unknown ones are if it is not.
fn parameters(query: &str) -> Result<Vec<Parameter<'_>>, Refusal> {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| parameter(pair).transpose()).collect()
}

fn parameter(pair: &str) -> Result<Option<Parameter<'_>>, Refusal> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let Some(name) = decode(name) else { return Ok(None) };
    match decode(value) {
        Some(value) => Ok(Some((name, value))),
        None if is_known(&name) => Err(Refusal {
            code: Code::InvalidParameter,
            message: format!("{name} must be percent-encoded UTF-8").into(),
            field: Some(name.into_owned().into()),
        }),
        None => Ok(None),
    }
}

fn is_known(name: &str) -> bool {
    DiscoverRequest::PARAMETERS.contains(&name) || name == FollowRequest::SINCE
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Some(Cow::Borrowed(text));
    }
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().ok();
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|decoded| Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(query: &str) -> Vec<(String, String)> {
        parameters(query).unwrap().into_iter().map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
    }

    #[test]
    fn parameters_are_decoded_as_forms_are() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(decoded(""), []);
        assert_eq!(
            decoded("a=b+c&&a=%C3%A9%2B&x&=y&z=1=2&p=100%"),
            [
                pair("a", "b c"),
                pair("a", "é+"),
                pair("x", ""),
                pair("", "y"),
                pair("z", "1=2"),
                pair("p", "100%")
            ]
        );
    }

    #[test]
    fn a_known_parameter_that_is_no_utf_8_is_refused_by_name() {
        let refusal = parameters("limit=1&archetype=%FF").unwrap_err();
        assert_eq!((refusal.code, refusal.field.as_deref()), (Code::InvalidParameter, Some("archetype")));
        assert_eq!(
            decoded("%C3=1&x=%FF&limit=1"),
            [("limit".to_owned(), "1".to_owned())],
            "unknown ones are ignored"
        );
    }
}
