//! Checks the head of a request. The HTTP library accepts some heads that the service refuses.

use aurora_discovery_protocol::{Code, Refusal};
use http::header::{HOST, TRANSFER_ENCODING};
use http::{Request, StatusCode, Version};

use crate::error::Failure;

/// The maximum size of a request's target and headers. The size of headers is counted as in HTTP/2.
/// The maximum is below the limit of the HTTP library, so that the service refuses the request
/// itself: the library's response has no body and no CORS headers.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// What HTTP/2 adds to the size of each header (RFC 9113, 6.5.2).
const HEADER_OVERHEAD_BYTES: usize = 32;

/// Refuses a head that is too large. Also refuses an HTTP/1 head that a proxy and the service could
/// read differently: with several `Host` headers, without one on HTTP/1.1, or with any other
/// `Transfer-Encoding` than a single `chunked`.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Failure> {
    // One pass over the headers takes less time than looking up each by its hash.
    let mut size = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let (mut hosts, mut encodings, mut chunked) = (0, 0, true);
    for (name, value) in request.headers() {
        size += name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES;
        hosts += usize::from(name == HOST);
        if name == TRANSFER_ENCODING {
            encodings += 1;
            chunked &= value.as_bytes().eq_ignore_ascii_case(b"chunked");
        }
    }
    if size > MAX_HEAD_BYTES {
        return Err(too_large());
    }
    // On HTTP/2, `:authority` and the frames of the body take the place of these two headers. The
    // HTTP library checks them.
    if request.version() == Version::HTTP_2 {
        return Ok(());
    }
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(invalid("host", "the request must have exactly one Host header"));
    }
    if encodings > 1 || !chunked {
        return Err(invalid("transfer-encoding", "the only Transfer-Encoding that is accepted is chunked"));
    }
    Ok(())
}

fn too_large() -> Failure {
    let message = format!(
        "the path, query and headers must be at most {MAX_HEAD_BYTES} bytes, of which each header takes \
         {HEADER_OVERHEAD_BYTES} more than its text; send fewer or shorter headers"
    );
    let status = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    Failure { status, ..Failure::new(Code::InvalidParameter, message) }
}

fn invalid(header: &'static str, message: &'static str) -> Failure {
    Refusal { field: Some(header.into()), ..Refusal::new(Code::InvalidParameter, message) }.into()
}
