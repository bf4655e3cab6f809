//! Headers that depend on the settings.

use http::Method;

use crate::support::{Service, one_response_of_each_kind};

#[tokio::test]
async fn without_cors_no_response_has_cors_headers() {
    let service = Service::with(|options| {
        options.limits.max_peers = 1;
        options.server.service.cors = false;
    })
    .await;
    for response in one_response_of_each_kind(&service).await {
        let cors: Vec<_> =
            response.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
        assert!(cors.is_empty(), "{cors:?}");
    }
}

#[tokio::test]
async fn a_request_id_is_accepted_from_a_trusted_hop() {
    let headers = [("x-request-id", "gateway-7")];
    for (service, accepted) in [(Service::behind_a_proxy().await, true), (Service::start().await, false)] {
        let response = service.request(Method::GET, "/health", &headers, "").await;
        assert_eq!(response.header("x-request-id") == Some("gateway-7"), accepted);
    }
}
