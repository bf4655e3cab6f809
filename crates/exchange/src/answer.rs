//! Answers, and how their heads say what follows.

/// Most headers of an answer.
const MOST_HEADERS: usize = 100;

/// An answer, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status, 200 to 999.
    pub status: u16,
    /// Its body, whatever it was carried in.
    pub body: Vec<u8>,
    head: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(head: &Head, bytes: Vec<u8>, body: Vec<u8>) -> Self {
        Self { status: head.status, body, head: bytes }
    }

    /// The first value of a header, whatever case its name has; `None` also where it is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        let mut named = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| &line[colon + 1..])
        });
        named.next().and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }
}

/// What a head says of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Its bytes.
    pub(crate) length: usize,
    pub(crate) framing: Framing,
    /// Whether the connection serves another request afterwards.
    pub(crate) is_last: bool,
}

/// How a body is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// In so many bytes.
    Length(usize),
    /// In chunks, each with its length.
    Chunks,
    /// In what comes until the connection ends.
    Rest,
}

/// The head that `bytes` begin with; `None` where more must come.
///
/// # Errors
/// What breaks HTTP's rules, in a sentence.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes).map_err(|error| format!("its head breaks a rule: {error}"))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = parsed.code.unwrap_or_default();
    if status < 100 {
        return Err(format!("its status is {status}"));
    }
    let values = |name: &'static str| {
        let named = parsed.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii())
    };
    let is_last = parsed.version != Some(1) || values("connection").any(|value| names(value, "close"));
    let mut framing = Framing::Rest;
    for value in values("content-length") {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let told = digits.and_then(|digits| digits.parse().ok()).map(Framing::Length);
        let told = told.ok_or("its length is no number")?;
        if framing != Framing::Rest && framing != told {
            return Err("it has two lengths".to_owned());
        }
        framing = told;
    }
    let has_length = framing != Framing::Rest;
    for value in values("transfer-encoding") {
        if !value.eq_ignore_ascii_case(b"chunked") || framing == Framing::Chunks {
            return Err("its body is encoded in more than chunks".to_owned());
        }
        framing = Framing::Chunks;
    }
    // RFC 9112, 6.3: the encoding counts, but whoever sends both is not relied on for where the next answer begins.
    let is_ambiguous = has_length && framing == Framing::Chunks;
    if is_bodiless(status) {
        framing = Framing::Length(0);
    }
    Ok(Some(Head { status, length, framing, is_last: is_last || is_ambiguous || framing == Framing::Rest }))
}

/// By HTTP's rules, whatever the headers say.
fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

fn names(list: &[u8], wanted: &str) -> bool {
    list.split(|byte| *byte == b',').any(|each| each.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head_lines: &str) -> Result<Option<Head>, String> {
        head(format!("HTTP/1.1 200 OK\r\n{head_lines}\r\n").as_bytes())
    }

    fn framing(head_lines: &str) -> Framing {
        read(head_lines).unwrap().unwrap().framing
    }

    #[test]
    fn a_head_says_how_its_body_is_carried() {
        assert_eq!(framing("Content-Length: 7\r\n"), Framing::Length(7));
        assert_eq!(framing("content-length: 7\r\nCONTENT-LENGTH:7\r\n"), Framing::Length(7));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Framing::Chunks);
        // The encoding counts where there is a length as well.
        assert_eq!(framing("content-length: 7\r\ntransfer-encoding: chunked\r\n"), Framing::Chunks);
        assert_eq!(framing(""), Framing::Rest);
        let empty = head(b"HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n").unwrap().unwrap();
        assert_eq!(empty.framing, Framing::Length(0));
    }

    #[test]
    fn a_head_that_could_mean_two_things_is_refused() {
        for lines in [
            "content-length: 7\r\ncontent-length: 8\r\n",
            "content-length: +7\r\n",
            "content-length: -1\r\n",
            "content-length: 7, 7\r\n",
            "content-length: 99999999999999999999999\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "no colon\r\n",
            " folded: line\r\n",
        ] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
        assert!(head(b"SMTP 200\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 099 None\r\n\r\n").is_err());
        assert_eq!(head(b"HTTP/1.1 200 OK\r\ncontent-le"), Ok(None));
    }

    #[test]
    fn a_connection_ends_with_what_says_so() {
        let is_last = |bytes: &[u8]| head(bytes).unwrap().unwrap().is_last;
        assert!(!is_last(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n"));
        assert!(is_last(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x, Close\r\n\r\n"));
        assert!(is_last(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n"));
        assert!(is_last(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(is_last(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"));
        assert!(!is_last(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let bytes = b"HTTP/1.1 200 OK\r\nX-Name:  a b \r\nx-name: c\r\nx-bytes: \xff\r\nx: \r\n\r\n";
        let answer = Answer::new(&head(bytes).unwrap().unwrap(), bytes.to_vec(), Vec::new());
        assert_eq!(answer.header("x-name"), Some("a b"));
        assert_eq!(answer.header("x"), Some(""));
        assert_eq!((answer.header("x-bytes"), answer.header("x-nam")), (None, None));
    }
}
