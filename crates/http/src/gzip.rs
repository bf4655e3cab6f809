//! Compression on separate threads, of a few bodies at a time.

use std::io::{self, Read as _, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Semaphore;

/// Compresses at most one body at a time for every two processors, but at least one. Meanwhile,
/// further responses are sent uncompressed, so that compression leaves processor time for other
/// requests.
#[derive(Debug)]
pub(crate) struct Compressor(Semaphore);

impl Compressor {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Semaphore::new((cores / 2).max(1)))
    }

    /// The compressed body, or `None` if the response should be sent uncompressed.
    pub(crate) async fn compress(&self, body: &Bytes) -> Option<Bytes> {
        let _permit = self.0.try_acquire().ok()?;
        let body = body.clone();
        // Compressing a page of a megabyte takes ten milliseconds, too long for a thread that
        // serves other requests.
        tokio::task::spawn_blocking(move || gzip(&body)).await.ok()?.ok()
    }
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

/// The content of a gzip file.
pub(crate) fn decompress(compressed: &[u8]) -> io::Result<Bytes> {
    let mut content = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut content)?;
    Ok(content.into())
}

/// Whether a client accepts gzip (RFC 9110, section 12.5.3).
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    // An entry for gzip itself takes precedence over the wildcard.
    let mut any = false;
    for entry in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| HeaderValue::to_str(line).ok()) {
        for coding in entry.split(',') {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            match name.trim() {
                "*" => any = has_weight(parameters),
                gzip if gzip.eq_ignore_ascii_case("gzip") => return has_weight(parameters),
                _ => {}
            }
        }
    }
    any
}

/// Whether the weight (`q`) among a coding's parameters is above zero. A coding without a weight
/// has weight one.
fn has_weight(parameters: &str) -> bool {
    // A weight that is not a number counts as zero.
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().unwrap_or(0.0))
    });
    weight.is_none_or(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_only_with_a_weight_above_zero() {
        let accepts = |value: &'static str| {
            accepts_gzip(&[(ACCEPT_ENCODING, HeaderValue::from_static(value))].into_iter().collect())
        };
        for yes in
            ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.5", "*", "deflate, *;q=0.1", "gzip ; q = 0.2"]
        {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "xgzip"] {
            assert!(!accepts(no), "{no}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
