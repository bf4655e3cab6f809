//! The web page that shows the network: `GET /` from a browser, and the files that the page loads.
//!
//! The binary contains the files in gzip format only. The page loads nothing from other origins,
//! which its `Content-Security-Policy` enforces.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::error::Failure;
use crate::gzip::{accepts_gzip, decompress};
use crate::router::{method_not_allowed, not_found, preflight};
use crate::service::Service;

/// Permits no file of another origin, no script or style within the HTML, and no text that a script
/// turns into HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";
/// `no-cache`: browsers ask each time whether the file has changed, so that they never run old
/// scripts with a new version of the service.
const HEADERS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-cache"),
    (CONTENT_SECURITY_POLICY, POLICY),
    (REFERRER_POLICY, "no-referrer"),
    (VARY, "accept, accept-encoding"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// A file of the page.
struct File {
    name: &'static str,
    /// The content, compressed.
    gzip: &'static [u8],
}

/// All files, as `build.rs` lists them. Those below `client/` are modules of the JavaScript client.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Adds the page to the paths of the API.
pub(crate) fn add_to(router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    let index = get(index).options(preflight).fallback(method_not_allowed);
    let file = get(file).options(preflight).fallback(method_not_allowed);
    router.route("/", index).route("/page/{*name}", file)
}

/// `GET /`: the page for browsers. Other clients get 404, as from a service without the page.
async fn index(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == "index.html") {
        Some(file) if accepts_html(&headers) => file.response(&headers),
        _ => not_found(method, uri).await,
    }
}

/// `GET /page/{name}`: a file that the page loads.
async fn file(method: Method, uri: Uri, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => file.response(&headers),
        None => not_found(method, uri).await,
    }
}

/// Whether a client names HTML among the types that it accepts, as browsers do when they open a
/// page. `curl` and HTTP libraries accept `*/*`.
fn accepts_html(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.split(',').any(|part| part.trim_start().starts_with("text/html")))
}

impl File {
    fn response(&self, request: &HeaderMap) -> Response {
        let is_compressed = accepts_gzip(request);
        let tag = self.tag();
        let mut response = if request.get(IF_NONE_MATCH).is_some_and(|known| known == tag.as_bytes()) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if is_compressed {
            let mut response = Response::new(Body::from(self.gzip));
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            match self.content() {
                Ok(content) => Response::new(Body::from(content)),
                Err(error) => return Failure::internal(error.to_string()).into_response(),
            }
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        response
    }

    /// The entity tag: the checksum and the length of the content, which are the last 8 bytes of
    /// the gzip file. The tag is weak, because the compressed and the uncompressed response have
    /// the same one.
    fn tag(&self) -> String {
        let trailer = self.gzip.last_chunk().copied().unwrap_or_default();
        format!("W/\"{:016x}\"", u64::from_le_bytes(trailer))
    }

    fn content(&self) -> io::Result<Bytes> {
        decompress(self.gzip)
    }

    fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        }
    }
}
