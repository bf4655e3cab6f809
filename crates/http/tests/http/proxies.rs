//! Requests to a service behind proxies: those that come through the proxies, and those that bypass
//! them.

use http::Method;

use crate::support::Service;
use crate::support::raw::RawConnection;

/// Sends a request without `X-Forwarded-For`, as from a client that bypasses the proxy.
async fn direct(service: &Service, head: &str) -> String {
    let mut connection = RawConnection::open(service.address).await;
    connection.send(&format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    connection.until_closed().await
}

#[tokio::test]
async fn a_request_whose_client_the_proxies_do_not_name_is_refused() {
    let service = Service::with(|options| options.server.trusted_hops = 2).await;
    let peer = r#"{"peer_id":"p"}"#;
    for forwarded in ["203.0.113.7", "unknown, 10.0.0.1", "", ", 10.0.0.1", "203.0.113.7 10.0.0.1"] {
        let headers = [("x-forwarded-for", forwarded)];
        for (method, path) in [
            (Method::POST, "/register"),
            (Method::POST, "/heartbeat"),
            (Method::POST, "/deregister"),
            (Method::GET, "/discover"),
            (Method::GET, "/watch"),
            (Method::GET, "/network"),
        ] {
            let response = service.request(method, path, &headers, peer).await;
            response.refused(400, "invalid_parameter", Some("X-Forwarded-For"));
            assert!(response.json()["error"].as_str().unwrap().contains("entry 2 from the right"));
        }
    }
    let headers = [("x-forwarded-for", "203.0.113.7, 10.0.0.1")];
    let registered = service.request(Method::POST, "/register", &headers, peer).await.ok();
    assert_eq!(registered["observed_address"], "203.0.113.7");
}

#[tokio::test]
async fn a_request_that_bypasses_the_proxy_is_refused_although_it_comes_from_this_machine() {
    let service = Service::behind_a_proxy().await;
    let refused = direct(&service, "GET /discover").await;
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("X-Forwarded-For"), "{refused}");
    assert!(refused.contains("\r\naccess-control-allow-origin: *\r\n"), "{refused}");
}

#[tokio::test]
async fn health_checks_need_no_proxy() {
    let service = Service::behind_a_proxy().await;
    for path in ["/health", "/health/"] {
        let response = direct(&service, &format!("GET {path}")).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
}
