//! Exchanges with a real server, and with one that says what no server should.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by them")]

use std::convert::Infallible;

use aurora_exchange::{Answer, Connection, ExchangeError, Request};
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_util::stream;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};

const LONGEST: usize = 100_000;

fn ask() -> Request {
    Request::get("/", &[("host", "h")]).unwrap()
}

/// What an exchange makes of bytes that come in `pieces`, and whether the connection is open afterwards.
async fn told(pieces: &[&[u8]], then: Then) -> Result<(Answer, bool), ExchangeError> {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut connection = Connection::over(ours);
    let request = ask();
    let tell = async {
        let mut asked = vec![0; request.as_bytes().len()];
        theirs.read_exact(&mut asked).await.unwrap();
        for piece in pieces {
            theirs.write_all(piece).await.unwrap();
            // The other side reads each for itself.
            tokio::task::yield_now().await;
        }
        if then == Then::Close {
            theirs.shutdown().await.unwrap();
        }
        theirs
    };
    let (answer, _theirs) = tokio::join!(connection.exchange(&request, LONGEST), tell);
    answer.map(|answer| (answer, connection.is_open()))
}

/// What the other side does when all is said.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    Wait,
}

async fn connect(router: Router) -> Connection<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Connection::over(TcpStream::connect(address).await.unwrap())
}

#[tokio::test]
async fn a_real_server_answers_one_request_after_the_other() {
    let chunked = || async {
        let pieces = (0..200).map(|n| Ok::<_, Infallible>(format!("{n};").repeat(n)));
        Body::from_stream(stream::iter(pieces))
    };
    let echo = |body: String| async { ([("x-echo", "yes")], body) };
    let mut connection =
        connect(Router::new().route("/chunks", get(chunked)).route("/echo", post(echo))).await;
    let whole: String = (0..200).map(|n| format!("{n};").repeat(n)).collect();
    for length in [0, 1, 10_000] {
        let body = "ß".repeat(length);
        let request = Request::post("/echo", &[("host", "h")], body.as_bytes()).unwrap();
        let answer = connection.exchange(&request, LONGEST).await.unwrap();
        assert_eq!((answer.status, answer.header("X-Echo")), (200, Some("yes")));
        assert_eq!(answer.body, body.as_bytes());
        let request = Request::get("/chunks", &[("host", "h")]).unwrap();
        let answer = connection.exchange(&request, LONGEST).await.unwrap();
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.body, whole.as_bytes());
        assert!(connection.is_open());
    }
    let request = Request::get("/nowhere", &[("host", "h")]).unwrap();
    assert_eq!(connection.exchange(&request, LONGEST).await.unwrap().status, 404);
}

#[tokio::test]
async fn an_answer_ends_where_it_says_and_the_connection_goes_on_unless_it_says_not() {
    const CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (bytes, body, goes_on) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "{}", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "a", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na", "a", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", "a", false),
        (&format!("{CHUNKS}3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\n\r\n"), "abc0123456789", true),
        (&format!("{CHUNKS}1\r\na\r\n0\r\nx-trailer: b\r\nx-other: c\r\n\r\n"), "a", true),
        // Somebody speaks out of turn.
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", "a", false),
    ] {
        let (answer, went_on) = told(&[bytes.as_bytes()], Then::Wait).await.unwrap();
        assert_eq!((String::from_utf8(answer.body).unwrap().as_str(), went_on), (body, goes_on), "{bytes}");
    }
    let (answer, _) = told(&[b"HTTP/1.1 200 OK\r\n\r\nuntil the end"], Then::Close).await.unwrap();
    assert_eq!(answer.body, b"until the end");
}

#[tokio::test]
async fn what_breaks_off_is_no_answer_and_before_its_first_byte_it_is_told_apart() {
    assert!(matches!(told(&[], Then::Close).await, Err(ExchangeError::Unanswered(_))));
    for bytes in [
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\na",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
    ] {
        let ended = told(&[bytes.as_bytes()], Then::Close).await;
        assert!(matches!(ended, Err(ExchangeError::BrokenOff(_))), "{bytes:?}: {ended:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    for bytes in [
        "SSH-2.0-x\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\naxy0\r\n\r\n",
        // No length is not the length zero: what was lost of the body would not be missed.
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n;x\r\n\r\n",
    ] {
        let ended = told(&[bytes.as_bytes()], Then::Close).await;
        assert!(matches!(ended, Err(ExchangeError::Malformed(_))), "{bytes:?}: {ended:?}");
    }
}

#[tokio::test]
async fn what_is_longer_than_allowed_is_refused_without_being_kept() {
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(100_000));
    let long_length = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", LONGEST + 1);
    let long_rest = format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(LONGEST + 1));
    let chunks = format!("{:x}\r\n{}\r\n", 60_000, "y".repeat(60_000)).repeat(2);
    let long_chunks = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let huge_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n".to_owned();
    let long_trailer =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{}", "x".repeat(100_000));
    let trailers = "x: y\r\n".repeat(20_000);
    let many_trailers = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
    for bytes in [long_head, long_length, long_rest, long_chunks, huge_chunk, long_trailer, many_trailers] {
        let ended = told(&[bytes.as_bytes()], Then::Close).await;
        assert!(matches!(ended, Err(ExchangeError::TooLong(_))), "{bytes:.80}: {ended:?}");
    }
}

#[tokio::test]
async fn what_only_ever_announces_an_answer_is_not_waited_for() {
    let announced = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000);
    let ended = told(&[announced.as_bytes()], Then::Close).await;
    assert!(matches!(ended, Err(ExchangeError::Malformed(_))), "{ended:?}");
}

#[tokio::test]
async fn a_body_may_be_as_long_as_is_allowed_in_chunks_too() {
    let (ours, mut theirs) = duplex(1 << 10);
    let bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    theirs.write_all(bytes).await.unwrap();
    assert_eq!(Connection::over(ours).exchange(&ask(), 1).await.unwrap().body, b"a");
}

#[tokio::test]
async fn a_connection_is_open_until_the_other_side_closes_it_or_speaks_unasked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for unasked in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let mut connection =
            Connection::over(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (mut theirs, _) = listener.accept().await.unwrap();
        assert!(connection.is_open());
        theirs.write_all(unasked).await.unwrap();
        drop(theirs);
        while connection.is_open() {
            tokio::task::yield_now().await;
        }
    }
}

/// Whatever its user forgets to ask: a late answer must never be taken for another request's.
#[tokio::test]
async fn an_exchange_that_was_given_up_leaves_no_usable_connection() {
    for told_before in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nla"] {
        let (ours, mut theirs) = duplex(1 << 10);
        let mut connection = Connection::over(ours);
        assert!(connection.is_open());
        theirs.write_all(told_before.as_bytes()).await.unwrap();
        let first = ask();
        tokio::select! {
            biased;
            _ = connection.exchange(&first, LONGEST) => unreachable!("nobody answers"),
            () = tokio::task::yield_now() => {}
        }
        assert!(!connection.is_open());
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await.unwrap();
        let second = connection.exchange(&ask(), LONGEST).await;
        assert!(matches!(second, Err(ExchangeError::Unanswered(_))), "{second:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_said_to_end_serves_no_other_exchange() {
    for last in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate",
    ] {
        let (ours, mut theirs) = duplex(1 << 10);
        let mut connection = Connection::over(ours);
        theirs.write_all(last.as_bytes()).await.unwrap();
        assert_eq!(connection.exchange(&ask(), LONGEST).await.unwrap().body, b"a");
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await.unwrap();
        let second = connection.exchange(&ask(), LONGEST).await;
        assert!(matches!(second, Err(ExchangeError::Unanswered(_))), "{second:?}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    #[test]
    fn an_answer_is_the_same_however_its_bytes_come(
        cuts in proptest::collection::vec(0_usize..200, 0..12),
        which in 0_usize..3,
    ) {
        let bytes: &[u8] = [
            &b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 20\r\n\r\n01234567890123456789"[..],
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nx: y\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nwhat comes until the end",
        ][which];
        let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let runtime = runtime();
        let whole = runtime.block_on(told(&[bytes], Then::Close)).unwrap();
        prop_assert_eq!(runtime.block_on(told(&pieces, Then::Close)).unwrap(), whole);
    }

    #[test]
    fn any_bytes_end_an_exchange(
        start in 0_usize..3,
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(&b"\r\n0123456789abcdef;: "[..])], 0..300),
    ) {
        let starts = [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"];
        let _ = runtime().block_on(told(&[starts[start], &bytes], Then::Close));
    }
}
