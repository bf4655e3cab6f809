//! The size of responses on the wire, for clients that pay for traffic.

use http::Method;
use serde_json::json;

use crate::support::Service;
use crate::support::raw::RawConnection;

/// The whole response, including its head, to a heartbeat with this body over HTTP/1.1.
async fn response(service: &Service, body: &str) -> String {
    let mut connection = RawConnection::open(service.address).await;
    let length = body.len();
    connection
        .send(&format!(
            "POST /heartbeat HTTP/1.1\r\nhost: discovery.example.org\r\nx-forwarded-for: 203.0.113.7\r\n\
             content-length: {length}\r\n\r\n{body}"
        ))
        .await;
    connection.expect("}").await
}

#[tokio::test]
async fn the_response_to_a_heartbeat_takes_at_most_420_bytes() {
    let service = Service::behind_a_proxy().await;
    let body = r#"{"peer_id":"uuid-or-identifier"}"#;
    service.post("/register", body).await.ok();
    let response = response(&service, body).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert_eq!(
        body,
        r#"{"message":"Heartbeat updated","peer_id":"uuid-or-identifier","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100,"observed_address":"203.0.113.7"}"#
    );
    assert!(response.len() <= 420, "{} bytes:\n{response}", response.len());
}

#[tokio::test]
async fn a_heartbeat_that_lists_twenty_contacts_takes_at_most_2_400_bytes() {
    let service = Service::behind_a_proxy().await;
    for n in 0..40 {
        let id = format!("5f0c9d3e-8b1a-4c57-9d2e-0123456789{n:02}");
        let peer = json!({"peer_id": id, "address": format!("203.0.113.1{n:02}"), "port": 49_152 + n,
                          "archetypes": ["pepino", "ethics"], "metadata": {"version": "1.0.0"}});
        let headers = [("x-forwarded-for", "198.51.100.200")];
        service.request(Method::POST, "/register", &headers, &peer.to_string()).await.ok();
    }
    let id = "5f0c9d3e-8b1a-4c57-9d2e-012345678900";
    let body = json!({"peer_id": id, "discover": {"view": "contact", "exclude": id}});
    let response = response(&service, &body.to_string()).await;
    assert_eq!(response.matches("\"port\":").count(), 20, "{response}");
    assert!(!response.contains("metadata") && !response.contains("last_seen"), "{response}");
    assert!(response.len() <= 2_400, "{} bytes:\n{response}", response.len());
}
