//! Headers that depend on the settings.

use http::Method;

use crate::support::{Service, one_response_of_each_kind};

#[tokio::test]
async fn without_cors_there_is_none_of_it() {
    let service = Service::with(|setting| {
        setting.limits.max_peers = 1;
        setting.options.service.cors = false;
    })
    .await;
    for reply in one_response_of_each_kind(&service).await {
        let cors: Vec<_> =
            reply.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
        assert!(cors.is_empty(), "{cors:?}");
    }
}

#[tokio::test]
async fn a_trusted_hop_names_the_request() {
    let headers = [("x-request-id", "gateway-7")];
    for (service, taken) in [(Service::behind_a_proxy().await, true), (Service::start().await, false)] {
        let reply = service.call(Method::GET, "/health", &headers, "").await;
        assert_eq!(reply.header("x-request-id") == Some("gateway-7"), taken);
    }
}
