//! Requests, as they are written.

/// A request, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(Vec<u8>);

/// Why a request can't be written. It names the place and not what stands there, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} of a request must be of visible ASCII; spaces may stand in a header's value only")]
pub struct RequestError(String);

impl Request {
    /// A GET of `path`, which begins with `/`, with `headers`; the first one should be `host`.
    ///
    /// # Errors
    /// [`RequestError`] if a path or a header could be taken for something else.
    pub fn get(path: &str, headers: &[(&str, &str)]) -> Result<Self, RequestError> {
        Self::head("GET", path, headers).map(|head| Self::ended(head, b""))
    }

    /// A POST of `body` to `path`, as [`Request::get`]. Its length is told.
    ///
    /// # Errors
    /// As [`Request::get`].
    pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Self, RequestError> {
        let mut head = Self::head("POST", path, headers)?;
        head.extend_from_slice(b"content-length: ");
        head.extend_from_slice(body.len().to_string().as_bytes());
        head.extend_from_slice(b"\r\n");
        Ok(Self::ended(head, body))
    }

    /// Its bytes, head and body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Vec<u8>, RequestError> {
        let is_token = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        check("the path", path, |byte| byte.is_ascii_graphic())?;
        let mut head = Vec::with_capacity(1_024);
        for part in [method, " ", path, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        for (name, value) in headers {
            check("a header's name", name, is_token)?;
            check(name, value, |byte| byte.is_ascii_graphic() || byte == b' ')?;
            for part in [name, ": ", value, "\r\n"] {
                head.extend_from_slice(part.as_bytes());
            }
        }
        Ok(head)
    }

    fn ended(mut head: Vec<u8>, body: &[u8]) -> Self {
        head.reserve_exact(2 + body.len());
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(body);
        Self(head)
    }
}

fn check(place: &str, text: &str, fits: impl Fn(u8) -> bool) -> Result<(), RequestError> {
    if text.bytes().all(fits) {
        return Ok(());
    }
    Err(RequestError(place.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_as_rfc_9112_has_it() {
        let request = Request::post("/a", &[("host", "h:1"), ("x-y", "a b")], b"{}").unwrap();
        let written = b"POST /a HTTP/1.1\r\nhost: h:1\r\nx-y: a b\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(request.as_bytes(), written);
        let request = Request::get("/", &[("host", "h")]).unwrap();
        assert_eq!(request.as_bytes(), b"GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_head() {
        for (path, name, value) in [
            ("/ HTTP/1.1\r\nx: y", "a", "b"),
            ("/é", "a", "b"),
            ("/", "a:", "b"),
            ("/", "a b", "b"),
            ("/", "a", "b\r\nc: d"),
            ("/", "a", "\n"),
            ("/", "a", "é"),
        ] {
            assert!(Request::get(path, &[(name, value)]).is_err(), "{path:?} {name:?} {value:?}");
        }
    }

    #[test]
    fn an_error_names_the_header_and_tells_nobody_its_value() {
        let error = Request::get("/", &[("x-token", "secret\n")]).unwrap_err();
        assert!(error.to_string().contains("x-token"), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
