//! Tests of the suite itself. A proxy changes one thing in all traffic, as a faulty service would,
//! and for each such distortion a case must fail.

use std::panic::AssertUnwindSafe;

use aurora_discovery_contract_tests::{Needs, Sources, Target};
use aurora_discovery_contract_tests::{
    admin, body, delta, deregister, discover, header, heartbeat, holder, inline, legacy, network, paging,
    prometheus, refusal, register, token_only, web_page,
};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::service::start;

/// What the proxy does to requests and responses. A request must keep its length, so that its
/// `Content-Length` remains correct. The function for responses also gets the distorted request.
#[derive(Clone, Copy)]
struct Distortion {
    request: fn(String) -> String,
    response: fn(&str, String) -> String,
}

const NOTHING: Distortion = Distortion { request: |request| request, response: |_, response| response };

/// Replaces `$from` by `$to` in every request.
macro_rules! requests {
    ($from:literal as $to:literal) => {
        Distortion { request: |request| request.replace($from, $to), ..NOTHING }
    };
}

/// Replaces `$from` by `$to` in every response.
macro_rules! responses {
    ($from:literal as $to:literal) => {
        Distortion { response: |_, response| response.replace($from, $to), ..NOTHING }
    };
}

/// Responds with `$to` to every request that contains `$contained`.
macro_rules! rejects {
    ($contained:literal with $to:literal) => {
        Distortion {
            response: |request, response| {
                if request.contains($contained) { $to.to_owned() } else { response }
            },
            ..NOTHING
        }
    };
}

/// Expands to one test per distortion: `$case` must pass through a proxy that changes nothing, and
/// fail through a proxy with `$distortion`.
macro_rules! detected {
    ($($name:ident: $distortion:expr => $module:ident::$case:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let target = start_behind_proxy(NOTHING).await;
                $module::$case(&target).await;
                let target = start_behind_proxy($distortion).await;
                let outcome = AssertUnwindSafe($module::$case(&target)).catch_unwind().await;
                assert!(outcome.is_err(), "{} does not detect the distortion", stringify!($case));
            }
        )+
    };
}

detected! {
    an_additional_key: responses!("\"metadata\":" as "\"extra\":1,\"metadata\":") => legacy::the_legacy_python_client_can_parse_each_peer;
    a_missing_key: responses!("\"port\":9000," as "") => legacy::the_legacy_python_client_can_parse_each_peer;
    times_with_a_suffix: responses!(":00\"" as ":00Z\"") => legacy::the_original_heartbeat_example_gets_the_original_response;
    a_health_check_with_an_additional_key: responses!("\"healthy\"" as "\"healthy\",\"version\":\"1\"")
        => legacy::the_health_check_returns_only_the_status;
    a_rejected_content_type: rejects!("urlencoded" with "HTTP/1.1 415 Unsupported\r\n\r\n")
        => body::a_body_is_parsed_as_json_whatever_its_content_type;
    rewritten_numbers: responses!("1E+99" as "1e99") => register::metadata_is_returned_byte_for_byte;
    removed_white_space: responses!("[ {}" as "[{}") => register::metadata_is_returned_byte_for_byte;
    a_wrong_observed_address: responses!("\"203.0.113.7\"" as "\"127.0.0.1\"")
        => register::a_registration_returns_its_lease;
    an_ignored_ttl: requests!("ttl_seconds" as "ttl_secondz") => register::a_requested_lease_within_the_bounds_is_granted;
    an_ignored_address: requests!("\"address\"" as "\"addresz\"") => register::every_kind_of_address_is_listed_as_registered;
    heartbeats_that_register: requests!("/heartbeat" as "/register ") => heartbeat::a_heartbeat_never_creates_a_peer;
    heartbeats_without_the_ttl: responses!(",\"ttl_seconds\":300" as "") => heartbeat::a_heartbeat_returns_the_lease;
    ignored_lists_of_ids: requests!("\"peer_ids\"" as "\"peer_idz\"")
        => heartbeat::a_heartbeat_for_many_peers_returns_one_result_each_in_request_order;
    a_wrong_number_of_renewed_leases: responses!("\"renewed\":3" as "\"renewed\":0")
        => heartbeat::a_heartbeat_for_many_peers_returns_one_result_each_in_request_order;
    heartbeat_intervals_without_a_spread: Distortion { response: with_an_interval_of_100, ..NOTHING }
        => heartbeat::heartbeat_intervals_are_spread_within_a_third_of_the_lease;
    ignored_archetypes: requests!("archetype=" as "archetypo=") => discover::a_peer_matches_if_it_has_any_of_the_archetypes;
    archetypes_without_case: Distortion { request: |request| with_archetypes_in_lower_case(&request), ..NOTHING }
        => discover::archetypes_of_any_script_are_matched_exactly;
    ignored_limits: requests!("limit=" as "limil=") => discover::the_limit_bounds_the_list_but_not_the_total;
    an_ignored_exclusion: requests!("exclude=" as "exclued=") => discover::an_excluded_peer_is_neither_listed_nor_counted;
    an_ignored_view: requests!("view=full" as "view=seed") => discover::the_full_view_adds_the_expiry_and_the_age_of_the_registration;
    a_rejected_deprecated_view: requests!("view=seed" as "view=sead")
        => discover::the_deprecated_name_of_the_legacy_view_is_accepted;
    a_rejected_deprecated_inline_view: requests!("\"view\":\"seed\"" as "\"view\":\"sead\"")
        => discover::the_deprecated_name_of_the_legacy_view_is_accepted;
    a_missing_deprecated_key: responses!("introduced_to_nobody_share" as "introduced_to_nobody")
        => network::the_deprecated_name_of_the_undiscovered_ratio_has_the_same_value;
    samples_that_are_always_the_first_page: requests!("discover?" as "discover?order=all&") => discover::each_request_draws_its_own_sample;
    a_label_of_another_name: responses!("__meta_aurora_peer_id" as "__meta_aurora_peer__")
        => prometheus::prometheus_gets_the_peers_of_an_archetype_that_accept_connections;
    ignored_cursors: requests!("cursor=" as "cursed=") => paging::a_modified_cursor_is_rejected;
    an_ignored_fill: requests!("fill=any" as "filt=any") => discover::fill_adds_peers_without_a_rare_archetype;
    wrong_ids_of_departed_peers: responses!("\"left\":[\"" as "\"left\":[\"x")
        => delta::a_peer_that_drops_an_archetype_leaves_its_delta;
    ignored_since_cursors: requests!("since=A" as "sinze=A") => delta::an_enumeration_and_a_delta_together_miss_no_peer;
    ignored_since: requests!("since=" as "sinse=") => delta::since_can_not_be_combined_with_order_or_cursor;
    ignored_inline_pages: requests!("\"discover\"" as "\"discowed\"") => inline::a_heartbeat_can_include_a_page;
    deregistrations_without_an_effect: requests!("/deregister" as "/heartbeat ") => deregister::a_deregistered_peer_is_removed_at_once;
    one_source_for_all_clients: requests!("198.51.100.8" as "203.0.113.7 ") => holder::only_the_holder_can_replace_or_deregister_a_live_peer;
    ignored_tokens: requests!("lease_token" as "leaze_token") => holder::the_holder_is_identified_by_its_token;
    tokens_that_are_not_valid: responses!("\"lease_token\":\"" as "\"lease_token\":\"x")
        => holder::the_holder_is_identified_by_its_token;
    a_trailing_slash_that_changes_the_path: rejects!("/health/" with "HTTP/1.1 404 Not Found\r\n\r\n") => header::a_trailing_slash_does_not_change_the_path;
    errors_without_cors: Distortion { response: without_cors_on_errors, ..NOTHING }
        => header::every_response_has_the_cors_headers_that_its_kind_needs;
    heartbeats_with_headers_of_preflights: responses!("200 OK" as "200 OK\r\naccess-control-max-age: 86400")
        => header::every_response_has_the_cors_headers_that_its_kind_needs;
    preflights_without_headers: responses!("Last-Event-ID," as "") => header::options_gets_204_on_every_path;
    ignored_origins: requests!("origin: https" as "orogin: https")
        => web_page::a_web_page_can_neither_replace_nor_deregister_a_peer_of_its_visitor;
    one_origin_for_all_pages: requests!("https://other.example" as "https://own.example  ")
        => web_page::a_web_page_can_change_what_it_registered_itself;
    ignored_token_only: requests!("token_only" as "tokem_only")
        => token_only::a_token_only_peer_is_changed_only_with_its_token;
    ignored_tokens_in_heartbeats: requests!("\"lease_token\":\"of-a" as "\"leaze_token\":\"of-a")
        => heartbeat::a_heartbeat_with_a_wrong_token_is_refused;
    heartbeats_without_the_observed_address: responses!("\"observed_address\":\"198.51.100.8\"," as "")
        => heartbeat::a_heartbeat_reports_the_address_of_a_peer_that_moved;
    preflights_with_200: responses!("204 No Content" as "200 OK") => header::options_gets_204_on_every_path;
    responses_that_allow_caching: responses!("no-store" as "max-age=5") => header::every_response_forbids_caching;
    responses_without_a_request_id: responses!("x-request-id" as "x-request-it") => header::every_response_has_its_own_request_id;
    a_body_in_the_response_to_head: Distortion { response: |_, response| response + "x", ..NOTHING }
        => header::head_is_like_get_without_a_body;
    a_405_without_allow: responses!("allow: " as "allowed: ") => refusal::a_wrong_method_gets_405_with_the_allowed_methods;
    errors_without_a_field: responses!(",\"field\":" as ",\"what\":") => refusal::an_invalid_parameter_is_named_in_the_error;
    errors_with_another_code: responses!("invalid_field" as "bad_request") => refusal::an_invalid_key_is_named_in_the_error;
    administration_without_a_key: requests!("x-api-key: unknown" as "x-api-key: key-of-an-operator")
        => admin::administration_needs_a_key_that_permits_it;
    an_eviction_that_is_not_counted: responses!("\"evicted\":1" as "\"evicted\":0")
        => admin::an_operator_evicts_a_peer;
    a_block_that_only_evicts: requests!("POST /admin/block " as "POST /admin/evict ")
        => admin::an_operator_blocks_a_peer_until_it_is_unblocked;
    a_400_instead_of_413: responses!("413 Payload Too Large" as "400 Bad Request")
        => body::a_body_may_have_at_most_16_kib;
}

fn with_an_interval_of_100(_: &str, response: String) -> String {
    let key = "\"heartbeat_interval_seconds\":";
    let Some((before, after)) = response.split_once(key) else { return response };
    format!("{before}{key}100{}", after.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

fn with_archetypes_in_lower_case(request: &str) -> String {
    let (line, rest) = request.split_once(" HTTP/1.1").unwrap();
    match line.split_once("archetype=") {
        Some((path, archetype)) => {
            format!("{path}archetype={} HTTP/1.1{rest}", archetype.to_ascii_lowercase())
        }
        None => request.to_owned(),
    }
}

fn without_cors_on_errors(_: &str, response: String) -> String {
    if response.starts_with("HTTP/1.1 2") {
        response
    } else {
        response.replace("access-control-allow-origin", "access-control-allow-none")
    }
}

/// Starts a service behind a distorting proxy.
async fn start_behind_proxy(distortion: Distortion) -> Target {
    let service = start(Needs::NONE, None, 1).await;
    let upstream = service.base_url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, upstream.clone(), distortion));
        }
    });
    let admin_key = service.admin_key.clone();
    let guard = (service, proxy);
    Target { sources: Sources::Forwarded, admin_key, ..Target::new(format!("http://{address}"), guard) }
}

/// Forwards one request. The connection ends after the response.
async fn forward(mut client: TcpStream, upstream: String, distortion: Distortion) {
    let request = (distortion.request)(read_request(&mut client).await);
    let mut service = TcpStream::connect(upstream).await.unwrap();
    service.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    service.read_to_end(&mut response).await.unwrap();
    let response = with_correct_length((distortion.response)(&request, String::from_utf8(response).unwrap()));
    client.write_all(response.as_bytes()).await.unwrap();
}

/// Reads the head of a request and the body of the announced length.
async fn read_request(client: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text.into_owned();
            }
        }
        if client.read_buf(&mut request).await.unwrap() == 0 {
            return String::from_utf8_lossy(&request).into_owned();
        }
    }
}

/// Corrects the `Content-Length` of a response whose body was distorted.
fn with_correct_length(response: String) -> String {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { return response };
    let lines = head.split("\r\n").map(|line| {
        let is_length = line.starts_with("content-length: ") && !body.is_empty();
        if is_length { format!("content-length: {}", body.len()) } else { line.to_owned() }
    });
    format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n"))
}
