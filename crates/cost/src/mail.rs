//! What mailboxes cost: the messages with which peers connect, and the requests that fetch them.

use serde::Serialize;

use crate::bill::{Bill, EndpointKind};
use crate::cluster::ClusterBill;
use crate::prices::Prices;
use crate::units;
use crate::workload::{MONTH_DAYS, MONTH_SECONDS, Workload};

/// The messages of a connection: an offer and an answer.
const MESSAGES: f64 = 2.0;
/// The requests for mail that a connection takes in addition to those of idle peers. The calling
/// peer polls once before the answer is there. After that, each of the two peers sends one request,
/// which acknowledges the message that it has fetched.
const POLLS: f64 = 3.0;
/// Bytes of the body of the response to a request that sends a message.
const SENT_BYTES: f64 = 26.0;
/// Bytes of a response without mail. Each message adds its own bytes and `LISTED_BYTES` to it.
const EMPTY_BYTES: f64 = 34.0;
const LISTED_BYTES: f64 = 120.0;
/// The interval between two requests of an idle browser, in seconds (`IDLE_POLL_SECONDS`).
const BROWSER_SECONDS: f64 = 30.0;
/// If the workload has no mail, the price of a mailbox is computed for this many connections a day.
const SHOWN_CONNECTIONS: f64 = 10.0;

/// How peers use their mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mail {
    /// How many connections a day each peer takes part in. With 0, no peer has a mailbox.
    pub connections_per_day: f64,
    /// The interval at which an idle peer requests its mail, in seconds. With 0, only its
    /// heartbeats fetch mail.
    pub poll_seconds: f64,
}

/// The totals of mail in a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct MailMonth {
    pub(crate) messages: f64,
    /// Requests that send or fetch mail. Heartbeats are not included.
    pub(crate) requests: f64,
    pub(crate) write_units: f64,
    pub(crate) read_units: f64,
    pub(crate) body_bytes: f64,
}

/// What each peer with a mailbox costs in a month, in addition to a peer without one, in US
/// dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct MailBill {
    pub(crate) mail: Mail,
    pub(crate) requests: f64,
    pub(crate) write_units: f64,
    pub(crate) read_units: f64,
    /// For each kind of endpoint, on a table.
    pub(crate) on_dynamodb: [f64; 3],
    /// On three machines with Valkey.
    pub(crate) on_valkey: f64,
}

impl Mail {
    /// The totals of a month in which this number of peers sends this number of heartbeats in
    /// total.
    pub(crate) fn month(&self, peers: f64, heartbeats: f64) -> MailMonth {
        if self.connections_per_day <= 0.0 {
            return MailMonth::default();
        }
        // Two peers take part in each connection.
        let connections = peers * self.connections_per_day * MONTH_DAYS / 2.0;
        let messages = connections * MESSAGES;
        let idle = if self.poll_seconds > 0.0 { peers * MONTH_SECONDS / self.poll_seconds } else { 0.0 };
        let polls = idle + connections * POLLS;
        // All heartbeats are assumed to fetch mail, because the response to a heartbeat contains
        // passwords for TURN servers only if the heartbeat fetches mail.
        let fetches = polls + heartbeats;
        MailMonth {
            messages,
            requests: messages + polls,
            write_units: messages * (units::SEND_WRITES + units::ACKNOWLEDGE_WRITES),
            read_units: messages * units::SEND_READS + fetches * units::FETCH_READS,
            body_bytes: messages * (SENT_BYTES + LISTED_BYTES + units::MESSAGE_BYTES) + fetches * EMPTY_BYTES,
        }
    }
}

/// The price of a mailbox, first if idle peers poll as browsers do, and then if only their
/// heartbeats fetch mail.
pub(crate) fn bills(workload: &Workload, prices: &Prices) -> [MailBill; 2] {
    let given = workload.mail.connections_per_day;
    let connections_per_day = if given > 0.0 { given } else { SHOWN_CONNECTIONS };
    [BROWSER_SECONDS, 0.0]
        .map(|poll_seconds| bill(workload, Mail { connections_per_day, poll_seconds }, prices))
}

fn bill(workload: &Workload, mail: Mail, prices: &Prices) -> MailBill {
    let without = Workload { mail: Mail::default(), ..*workload };
    let with = Workload { mail, ..*workload };
    let (before, after) = (without.month(), with.month());
    let total = |workload: &Workload, endpoint| Bill::of(workload, endpoint, prices).total;
    let cluster = |workload: &Workload| ClusterBill::of(workload, &workload.month(), prices);
    MailBill {
        mail,
        requests: (after.requests - before.requests) / workload.peers,
        write_units: (after.write_units - before.write_units) / workload.peers,
        read_units: (after.read_units - before.read_units) / workload.peers,
        on_dynamodb: EndpointKind::ALL
            .map(|endpoint| (total(&with, endpoint) - total(&without, endpoint)) / workload.peers),
        on_valkey: (cluster(&with).total - cluster(&without).total) / workload.peers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::hundred_peers;

    fn whole(figure: f64) -> String {
        format!("{figure:.0}")
    }

    #[test]
    fn a_peer_that_polls_as_a_browser_does_sends_87_150_requests_a_month_for_ten_connections_a_day() {
        let month = Mail { connections_per_day: 10.0, poll_seconds: 30.0 }.month(1.0, 0.0);
        // The peer takes part in 300 connections, which count half for each of their two peers.
        // Each connection has two messages and three polls. An idle peer sends 86,400 polls.
        assert_eq!((whole(month.messages), whole(month.requests)), ("300".to_owned(), "87150".to_owned()));
        let by_heartbeats = Mail { connections_per_day: 10.0, poll_seconds: 0.0 }.month(1.0, 43_200.0);
        assert_eq!(whole(by_heartbeats.requests), "750");
        // Each heartbeat fetches mail, which reads the peer and its mailbox. The reads for the
        // renewal itself are not included.
        assert_eq!(
            whole(by_heartbeats.read_units),
            whole(300.0 * units::SEND_READS + 43_650.0 * units::FETCH_READS)
        );
    }

    #[test]
    fn a_network_without_mail_pays_nothing_for_it() {
        assert_eq!(
            Mail { connections_per_day: 0.0, poll_seconds: 30.0 }.month(1.0, 1.0),
            MailMonth::default()
        );
    }

    /// The design of the mailboxes estimated 0.3 to 0.6 US dollars a month for a peer that polls,
    /// and almost nothing for a peer that does not.
    #[test]
    fn polling_costs_a_peer_less_than_half_a_dollar_and_heartbeats_a_cent() {
        let [polling, by_heartbeats] = bills(&hundred_peers(60.0, false), &Prices::built_in().unwrap());
        let [rest, http, url] = polling.on_dynamodb;
        assert!((0.30..0.50).contains(&rest) && http < 0.2 && url < 0.1, "{polling:?}");
        assert!(by_heartbeats.on_dynamodb[0] < 0.03, "{by_heartbeats:?}");
        assert!(polling.on_valkey < 0.01 && by_heartbeats.on_valkey < polling.on_valkey, "{polling:?}");
    }

    #[test]
    fn the_price_of_mail_is_that_of_the_workload_with_it() {
        let prices = Prices::built_in().unwrap();
        let plain = hundred_peers(60.0, false);
        let mail = Mail { connections_per_day: 10.0, poll_seconds: 30.0 };
        let total = |workload: &Workload| Bill::of(workload, EndpointKind::Rest, &prices).total;
        let more = total(&Workload { mail, ..plain }) - total(&plain);
        assert!((more - 100.0 * bills(&plain, &prices)[0].on_dynamodb[0]).abs() < 1e-9);
    }

    #[test]
    fn the_interval_is_that_of_the_client_for_browsers() {
        let client = include_str!("../../../clients/javascript/src/mailbox.js");
        assert!(client.contains("const IDLE_POLL_SECONDS = 30;"));
    }
}
