//! The query parameters, decoded as HTML forms encode them.
//!
//! axum's `Query` is not suitable: it rejects a query as a whole, without naming the parameter at
//! fault, and replaces bytes that are not UTF-8.

use std::borrow::Cow;

use aurora_discovery_protocol::{ChangesRequest, Code, DiscoverRequest, Refusal};
use percent_encoding::percent_decode_str;

type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters of a query: `+` is a space, and `%XX` is a byte of UTF-8. A parameter that can't
/// be decoded is rejected if its name is known, and ignored otherwise, like any unknown parameter.
pub(crate) fn parameters(query: &str) -> Result<Vec<Parameter<'_>>, Refusal> {
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
    DiscoverRequest::PARAMETERS.contains(&name) || name == ChangesRequest::SINCE
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    // Most values need no decoding and are borrowed.
    let bytes = text.as_bytes();
    if !(bytes.contains(&b'+') || bytes.contains(&b'%')) {
        return Some(Cow::Borrowed(text));
    }
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().ok();
    }
    // Spaces are replaced first, so that an encoded plus sign (`%2B`) stays a plus sign.
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
    fn parameters_are_decoded_like_html_forms() {
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
    fn a_known_parameter_that_is_not_utf_8_is_rejected_by_name() {
        let refusal = parameters("limit=1&archetype=%FF").unwrap_err();
        assert_eq!((refusal.code, refusal.field.as_deref()), (Code::InvalidParameter, Some("archetype")));
        assert_eq!(
            decoded("%C3=1&x=%FF&limit=1"),
            [("limit".to_owned(), "1".to_owned())],
            "unknown parameters are ignored"
        );
    }
}
