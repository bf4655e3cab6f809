//! Signatures: AWS's version 4 for the one form of request that the client makes.
//!
//! The key that is derived for a day is kept, and nothing is parsed again: a fifth of what AWS's own crate takes for any request,
//! which the tests compare it with.

use std::time::SystemTime;

use aurora_protocol::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::credentials::Keys;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "dynamodb";

/// Signs for one Region.
#[derive(Debug)]
pub(super) struct Signer {
    region: String,
    derived: Mutex<Option<Derived>>,
}

/// The key of one day, derived from one secret.
struct Derived {
    day: String,
    secret: String,
    key: [u8; 32],
}

/// What is signed: a POST to the endpoint's root.
pub(super) struct Signable<'a> {
    /// As in the header `host`.
    pub(super) host: &'a str,
    pub(super) content_type: &'a str,
    /// The header `x-amz-target`.
    pub(super) target: &'a str,
    pub(super) body: &'a [u8],
}

/// The headers that a signature adds; `x-amz-security-token` goes with them if the keys have one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// `x-amz-date`.
    pub(super) date: String,
    pub(super) authorization: String,
}

impl Signer {
    pub(super) fn new(region: String) -> Self {
        Self { region, derived: Mutex::default() }
    }

    /// The signature of a request, valid for some minutes around `now`.
    pub(super) fn sign(&self, request: &Signable<'_>, keys: &Keys, now: SystemTime) -> Signature {
        let date = basic_format(now);
        let day = &date[..8];
        let scope = format!("{day}/{}/{SERVICE}/aws4_request", self.region);
        let (canonical, signed_headers) = canonical(request, keys, &date);
        let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let signature = hex(&hmac(&self.key_of(day, keys), &to_sign));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
            keys.id
        );
        Signature { date, authorization }
    }

    fn key_of(&self, day: &str, keys: &Keys) -> [u8; 32] {
        let mut derived = self.derived.lock();
        match &*derived {
            Some(held) if held.day == day && held.secret == keys.secret => held.key,
            _ => {
                let first = hmac(format!("AWS4{}", keys.secret).as_bytes(), day);
                let steps = [self.region.as_str(), SERVICE, "aws4_request"];
                let key = steps.iter().fold(first, |key, step| hmac(&key, step));
                *derived = Some(Derived { day: day.to_owned(), secret: keys.secret.clone(), key });
                key
            }
        }
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Derived").field("day", &self.day).finish_non_exhaustive()
    }
}

/// The request as both sides write it to hash it, and the names of the headers in it, sorted.
fn canonical(request: &Signable<'_>, keys: &Keys, date: &str) -> (String, &'static str) {
    let Signable { host, content_type, target, body } = request;
    let body = hex(&Sha256::digest(body));
    let (token, names) = match &keys.token {
        Some(token) => (
            format!("x-amz-security-token:{token}\n"),
            "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
        ),
        None => (String::new(), "content-type;host;x-amz-date;x-amz-target"),
    };
    let canonical = format!(
        "POST\n/\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{date}\n{token}x-amz-target:{target}\n\n{names}\n{body}"
    );
    (canonical, names)
}

/// An instant as `20251002T120000Z`.
fn basic_format(time: SystemTime) -> String {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut text = Timestamp::from_secs(since_epoch.as_secs()).to_string();
    text.retain(|character| !matches!(character, '-' | ':'));
    text.push('Z');
    text
}

fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    // A key of any length is taken, so that the error can't be.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    use proptest::prelude::*;

    use super::*;

    /// The signature of AWS's own crate.
    fn by_aws(request: &Signable<'_>, keys: &Keys, region: &str, now: SystemTime) -> Signature {
        let identity = Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(SERVICE)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers = [
            ("content-type", request.content_type),
            ("host", request.host),
            ("x-amz-target", request.target),
        ];
        let uri = format!("https://{}/", request.host);
        let signable =
            SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(request.body))
                .unwrap();
        let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
        let header = |name: &str| {
            instructions.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).unwrap().1.to_owned()
        };
        Signature { date: header("x-amz-date"), authorization: header("authorization") }
    }

    proptest! {
        #[test]
        fn a_signature_is_the_one_that_aws_own_crate_makes(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            secret in "[A-Za-z0-9/+]{1,80}",
            token in proptest::option::of("[A-Za-z0-9/+=]{1,400}"),
            seconds in 0_u64..4_000_000_000,
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            port in proptest::option::of(1024_u16..),
        ) {
            let keys = Keys { id: "AKIDEXAMPLE".to_owned(), secret, token, expires_at: None };
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let request = Signable {
                host: &format!("dynamodb.{region}.example{port}"),
                content_type: "application/x-amz-json-1.0",
                target: "DynamoDB_20120810.GetItem",
                body: &body,
            };
            let signer = Signer::new(region.clone());
            // The second one by the kept key, the third one of the next day.
            for later in [0, 1, 86_400] {
                let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + later);
                prop_assert_eq!(signer.sign(&request, &keys, now), by_aws(&request, &keys, &region, now));
            }
        }
    }

    #[test]
    fn new_keys_are_used_at_once() {
        let request = Signable { host: "h", content_type: "c", target: "t", body: b"" };
        let keys = |secret: &str| Keys { secret: secret.to_owned(), ..Keys::for_nobody() };
        let signer = Signer::new("us-east-1".to_owned());
        let now = SystemTime::UNIX_EPOCH;
        signer.sign(&request, &keys("old"), now);
        let signed = signer.sign(&request, &keys("new"), now);
        assert_eq!(signed, Signer::new("us-east-1".to_owned()).sign(&request, &keys("new"), now));
    }
}
