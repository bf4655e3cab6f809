//! Stops and restarts while clients are busy.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::Service;

const CLIENTS: usize = 16;
/// The number of requests of a client before and after the restart.
const REQUESTS: usize = 50;
/// The time limit for connecting and for a response. No restart takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// For how long a client keeps a connection on which it sends nothing. The service drains for a
/// second and then closes idle connections, and this is half of that time. A client normally sends
/// without a break, but the machine may pause it.
const MAX_IDLE: Duration = Duration::from_millis(500);

/// A client that keeps its connection until a response closes it.
struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    /// When the last response arrived.
    idle_since: Instant,
}

impl Client {
    /// Sends a request and reads its response. Connects again if the connection is refused, but
    /// never repeats a request. Returns the status.
    fn post(&mut self, path: &str, body: &str) -> u16 {
        if self.idle_since.elapsed() > MAX_IDLE {
            self.connection = None;
        }
        let connection = self.connection.get_or_insert_with(|| connect(self.address));
        let length = body.len();
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        connection.get_mut().write_all(request.as_bytes()).expect("the connection was closed");
        let (status, closes) = read_response(connection);
        self.idle_since = Instant::now();
        if closes {
            self.connection = None;
        }
        status
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return BufReader::new(stream);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && begun.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("can't connect: {error}"),
        }
    }
}

/// The status of a response, and whether it closes the connection.
fn read_response(connection: &mut BufReader<TcpStream>) -> (u16, bool) {
    let (mut status, mut closes, mut length) = (None, false, 0);
    loop {
        let mut line = String::new();
        let read = connection.read_line(&mut line).expect("a request got no response");
        assert!(read > 0, "a request got no response");
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            _ if line.is_empty() => break,
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("connection", value)) => closes = value == "close",
            Some(_) => {}
            None => status = Some(line.split(' ').nth(1).unwrap().parse().unwrap()),
        }
    }
    connection.read_exact(&mut vec![0; length]).expect("a response was cut off");
    (status.unwrap(), closes)
}

#[test]
fn no_request_of_a_busy_client_is_lost_in_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut service = Service::on(directory.path());
    let address: SocketAddr = service.endpoint.trim_start_matches("http://").parse().unwrap();
    let restarted = AtomicBool::new(false);
    let (busy, all_busy) = mpsc::channel();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (restarted, busy) = (&restarted, busy.clone());
            scope.spawn(move || {
                let body = format!(r#"{{"peer_id":"peer-{client}"}}"#);
                let mut client = Client { address, connection: None, idle_since: Instant::now() };
                assert_eq!(client.post("/register", &body), 200);
                let mut heartbeats =
                    |count| (0..count).for_each(|_| assert_eq!(client.post("/heartbeat", &body), 200));
                heartbeats(REQUESTS);
                busy.send(()).unwrap();
                while !restarted.load(SeqCst) {
                    heartbeats(1);
                }
                heartbeats(REQUESTS);
            });
        }
        drop(busy);
        let started = (0..CLIENTS).take_while(|_| all_busy.recv_timeout(PATIENCE).is_ok()).count();
        service.running.signal("TERM");
        let code = service.running.wait();
        let _second = Service::at(&address.to_string(), directory.path());
        restarted.store(true, SeqCst);
        assert_eq!((started, code), (CLIENTS, Some(0)));
        // The second service runs until all clients are done.
        assert_eq!(all_busy.recv(), Err(mpsc::RecvError));
    });
}

#[test]
fn a_second_signal_ends_the_service_at_once() {
    let mut service = Service::start(&["--memory", "--shutdown-drain", "3600"]);
    service.running.signal("TERM");
    // The second signal is of another kind, because two of one kind that arrive together count as
    // one.
    service.running.signal("INT");
    assert_eq!(service.running.wait(), Some(1));
}
