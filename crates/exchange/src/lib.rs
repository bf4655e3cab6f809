//! HTTP/1.1 (RFC 9112) as the one who asks: one request and its answer at a time, over one connection that is kept.
//!
//! It is for a process that speaks all day with one endpoint or two, and waits for each answer whole: the function on Lambda with
//! its Runtime API, the store with DynamoDB. An exchange is one write, and as few reads as the answer comes in; there is no pool,
//! no task, no map of headers (decision 10 has the figures). How a connection comes about, and TLS, are its user's.

mod answer;
mod connection;
mod request;

pub use answer::Answer;
pub use connection::{Connection, ExchangeError};
pub use request::{Request, RequestError};
