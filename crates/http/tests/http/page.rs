//! The web page that the service shows to browsers.

use http::{Method, StatusCode};

use crate::support::Service;

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

async fn request(
    service: &Service,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> reqwest::Response {
    let mut request = service.client.request(method, service.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    request(service, Method::GET, path, headers).await
}

#[tokio::test]
async fn browsers_get_the_page_and_other_clients_get_404() {
    let service = Service::start().await;
    let page = get(&service, "/", &[BROWSER]).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("<title>Aurora Discovery</title>"));
    for accept in ["*/*", "application/json"] {
        let refused = service.request(Method::GET, "/", &[("accept", accept)], "").await;
        refused.refused(404, "not_found", None);
    }
    service.post("/", "{}").await.refused(404, "not_found", None);
    service.get("/page/nothing.js").await.refused(404, "not_found", None);
    service.get("/page/../Cargo.toml").await.refused(404, "not_found", None);
    assert_eq!(request(&service, Method::OPTIONS, "/", &[]).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_service_without_the_page_refuses_browsers_too() {
    let service = Service::with(|options| options.server.service.page = false).await;
    service.request(Method::GET, "/", &[BROWSER], "").await.refused(404, "not_found", None);
    service.get("/page/app.js").await.refused(404, "not_found", None);
}

#[tokio::test]
async fn the_page_loads_and_runs_only_files_of_the_service() {
    let service = Service::start().await;
    for path in ["/", "/page/app.js", "/page/style.css", "/page/client/client.js"] {
        let response = get(&service, path, &[BROWSER]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let text = response.text().await.unwrap();
        assert!(!text.contains("style=\"") && !text.contains("innerHTML"), "{path}");
    }
}

#[tokio::test]
async fn a_file_is_sent_compressed_and_only_if_it_has_changed() {
    let service = Service::start().await;
    let plain = get(&service, "/page/app.js", &[]).await;
    let tag = plain.headers()["etag"].to_str().unwrap().to_owned();
    assert!(!plain.headers().contains_key("content-encoding"));
    assert_eq!(plain.headers()["cache-control"], "no-cache");
    let plain = plain.bytes().await.unwrap();

    let gzip = get(&service, "/page/app.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!(gzip.headers()["content-encoding"], "gzip");
    assert_eq!(gzip.headers()["etag"], tag.as_str());
    let mut content = Vec::new();
    let compressed = gzip.bytes().await.unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&compressed[..]), &mut content).unwrap();
    assert_eq!(content, plain);
    assert!(compressed.len() < plain.len());

    let known = get(&service, "/page/app.js", &[("if-none-match", &tag)]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(known.bytes().await.unwrap().len(), 0);
    let other = get(&service, "/page/style.css", &[("if-none-match", &tag)]).await;
    assert_eq!(other.status(), StatusCode::OK);
}
