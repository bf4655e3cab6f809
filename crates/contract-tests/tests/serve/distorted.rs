//! A proxy that distorts one thing in all traffic, and for each distortion a case that detects it.

use std::panic::AssertUnwindSafe;

use aurora_discovery_contract_tests::{Needs, Sources, Target};
use aurora_discovery_contract_tests::{
    body, delta, deregister, discover, header, heartbeat, holder, inline, network, paging, refusal, register,
    seed,
};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::service::start;

/// The distortion. A request must keep its length, so that its `Content-Length` remains correct.
#[derive(Clone, Copy)]
struct Distortion {
    request: fn(String) -> String,
    response: fn(&str, String) -> String,
}

const NOTHING: Distortion = Distortion { request: |request| request, response: |_, response| response };

/// Replaces `$from` by `$to` in every request.
macro_rules! reads {
    ($from:literal as $to:literal) => {
        Distortion { request: |request| request.replace($from, $to), ..NOTHING }
    };
}

/// Replaces `$from` by `$to` in every response.
macro_rules! answers {
    ($from:literal as $to:literal) => {
        Distortion { response: |_, response| response.replace($from, $to), ..NOTHING }
    };
}

/// Responds with `$to` to every request that contains `$asked`.
macro_rules! refuses {
    ($asked:literal with $to:literal) => {
        Distortion {
            response: |request, response| if request.contains($asked) { $to.to_owned() } else { response },
            ..NOTHING
        }
    };
}

macro_rules! caught {
    ($($name:ident: $distortion:expr => $room:ident::$case:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let target = behind(NOTHING).await;
                $room::$case(&target).await;
                let target = behind($distortion).await;
                let outcome = AssertUnwindSafe($room::$case(&target)).catch_unwind().await;
                assert!(outcome.is_err(), "{} lets it pass", stringify!($case));
            }
        )+
    };
}

caught! {
    a_seventh_key: answers!("\"metadata\":" as "\"extra\":1,\"metadata\":") => seed::todays_python_client_reads_each_peer;
    a_missing_key: answers!("\"port\":9000," as "") => seed::todays_python_client_reads_each_peer;
    times_with_a_suffix: answers!(":00\"" as ":00Z\"") => seed::the_seeds_heartbeat_answers_with_the_seeds_shape;
    a_talkative_health_check: answers!("\"healthy\"" as "\"healthy\",\"version\":\"1\"")
        => seed::the_seeds_health_check_is_healthy_and_says_nothing_else;
    a_wrong_content_type_refused: refuses!("urlencoded" with "HTTP/1.1 415 Unsupported\r\n\r\n")
        => body::a_body_is_read_whatever_its_content_type_says;
    numbers_written_anew: answers!("1E+999" as "1e999") => register::metadata_comes_back_byte_for_byte;
    white_space_left_out: answers!("[ {}" as "[{}") => register::metadata_comes_back_byte_for_byte;
    another_observed_address: answers!("\"203.0.113.7\"" as "\"127.0.0.1\"")
        => register::a_registration_is_answered_with_its_lease;
    a_lease_that_is_not_granted: reads!("ttl_seconds" as "ttl_secondz") => register::a_lease_may_be_asked_for_within_the_bounds;
    an_address_that_is_dropped: reads!("\"address\"" as "\"addresz\"") => register::every_kind_of_address_is_listed_as_it_came;
    heartbeats_that_register: reads!("/heartbeat" as "/register ") => heartbeat::a_heartbeat_never_creates_a_peer;
    heartbeats_answered_sparsely: answers!(",\"ttl_seconds\":300" as "") => heartbeat::a_heartbeat_is_answered_with_the_lease;
    lists_of_ids_that_are_ignored: reads!("\"peer_ids\"" as "\"peer_idz\"")
        => heartbeat::heartbeats_for_many_are_each_answered_in_the_order_asked;
    one_peers_failure_that_hides_the_others: answers!("\"renewed\":3" as "\"renewed\":0")
        => heartbeat::heartbeats_for_many_are_each_answered_in_the_order_asked;
    heartbeats_wanted_all_at_once: Distortion { response: always_after_a_third, ..NOTHING }
        => heartbeat::each_further_heartbeat_is_wanted_at_its_own_time_within_a_third_of_the_lease;
    filters_that_are_ignored: reads!("archetype=" as "archetypo=") => discover::any_of_several_archetypes_matches;
    archetypes_of_any_case: Distortion { request: |request| asking_in_lower_case(&request), ..NOTHING }
        => discover::archetypes_of_any_script_are_matched_exactly;
    limits_that_are_ignored: reads!("limit=" as "limil=") => discover::a_limit_cuts_the_list_and_the_total_counts_all;
    an_excluded_peer_that_is_listed: reads!("exclude=" as "exclued=") => discover::the_excluded_peer_is_neither_listed_nor_counted;
    a_view_that_is_ignored: reads!("view=full" as "view=seed") => discover::the_full_view_adds_when_it_expires_and_registered;
    a_deprecated_view_that_is_refused: reads!("view=seed" as "view=sead")
        => discover::the_deprecated_name_of_the_legacy_view_is_accepted;
    a_deprecated_inline_view_that_is_refused: reads!("\"view\":\"seed\"" as "\"view\":\"sead\"")
        => discover::the_deprecated_name_of_the_legacy_view_is_accepted;
    a_deprecated_key_that_is_missing: answers!("introduced_to_nobody_share" as "introduced_to_nobody")
        => network::the_deprecated_name_of_the_undiscovered_ratio_has_the_same_value;
    samples_of_the_first_page: reads!("discover?" as "discover?order=all&") => discover::samples_differ_from_call_to_call;
    cursors_that_are_ignored: reads!("cursor=" as "cursed=") => paging::a_cursor_that_was_changed_is_refused;
    gaps_that_stay: reads!("fill=any" as "filt=any") => discover::a_rare_archetype_is_filled_up_with_others;
    departures_that_are_not_told: answers!("\"left\":[\"" as "\"left\":[\"x")
        => delta::who_lays_down_an_archetype_leaves_its_followers;
    cursors_that_change_nothing: reads!("since=A" as "sinze=A") => delta::an_enumeration_and_what_follows_it_miss_nothing;
    changes_that_are_ignored: reads!("since=" as "sinse=") => delta::a_since_comes_without_an_order_or_a_cursor;
    pages_that_never_ride: reads!("\"discover\"" as "\"discowed\"") => inline::a_page_rides_along_with_a_heartbeat;
    departures_without_an_effect: reads!("/deregister" as "/heartbeat ") => deregister::a_deregistered_peer_is_gone;
    one_source_for_all: reads!("198.51.100.8" as "203.0.113.7 ") => holder::a_stranger_can_neither_replace_nor_deregister_a_live_peer;
    tokens_that_are_ignored: reads!("lease_token" as "leaze_token") => holder::the_holder_is_known_by_its_token;
    tokens_that_prove_nothing_new: answers!("\"lease_token\":\"" as "\"lease_token\":\"x")
        => holder::the_holder_is_known_by_its_token;
    a_slash_that_matters: refuses!("/health/" with "HTTP/1.1 404 Not Found\r\n\r\n") => header::a_trailing_slash_means_the_same;
    errors_that_browsers_can_not_read: Distortion { response: without_cors_on_errors, ..NOTHING }
        => header::every_answer_may_be_read_by_browsers;
    preflights_with_200: answers!("204 No Content" as "200 OK") => header::options_answers_204_everywhere;
    answers_that_caches_keep: answers!("no-store" as "max-age=5") => header::every_answer_is_uncached;
    answers_without_a_name: answers!("x-request-id" as "x-request-it") => header::every_answer_has_a_name_of_its_own;
    a_body_after_head: Distortion { response: |_, response| response + "x", ..NOTHING }
        => header::head_says_what_get_would_without_a_body;
    a_405_that_helps_nobody: answers!("allow: " as "allowed: ") => refusal::a_wrong_method_is_answered_with_the_right_ones;
    refusals_that_name_no_key: answers!(",\"field\":" as ",\"what\":") => refusal::every_parameter_that_breaks_its_rule_is_named;
    refusals_of_another_code: answers!("invalid_field" as "bad_request") => refusal::every_key_that_breaks_its_rule_is_named;
    a_413_that_is_a_400: answers!("413 Payload Too Large" as "400 Bad Request")
        => body::a_body_may_have_16_kib_and_not_a_byte_more;
}

fn always_after_a_third(_: &str, response: String) -> String {
    let key = "\"heartbeat_interval_seconds\":";
    let Some((before, after)) = response.split_once(key) else { return response };
    format!("{before}{key}100{}", after.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

fn asking_in_lower_case(request: &str) -> String {
    let (line, rest) = request.split_once(" HTTP/1.1").unwrap();
    match line.split_once("archetype=") {
        Some((path, asked)) => format!("{path}archetype={} HTTP/1.1{rest}", asked.to_ascii_lowercase()),
        None => request.to_owned(),
    }
}

fn without_cors_on_errors(_: &str, response: String) -> String {
    if response.starts_with("HTTP/1.1 2") {
        response
    } else {
        response.replace("access-control-allow-origin", "access-control-allow-nobody")
    }
}

/// Starts a service behind a distorting proxy.
async fn behind(distortion: Distortion) -> Target {
    let service = start(Needs::NONE, None, 1).await;
    let upstream = service.base_url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            tokio::spawn(pass_through(caller, upstream.clone(), distortion));
        }
    });
    let guard = (service, proxy);
    Target { sources: Sources::Forwarded, ..Target::new(format!("http://{address}"), guard) }
}

/// Forwards one request. The connection ends after the response.
async fn pass_through(mut caller: TcpStream, upstream: String, distortion: Distortion) {
    let request = (distortion.request)(read_request(&mut caller).await);
    let mut service = TcpStream::connect(upstream).await.unwrap();
    service.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    service.read_to_end(&mut response).await.unwrap();
    let response = with_true_length((distortion.response)(&request, String::from_utf8(response).unwrap()));
    caller.write_all(response.as_bytes()).await.unwrap();
}

/// Reads the head of a request and the body of the announced length.
async fn read_request(caller: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= announced.map_or(0, |length| length.parse().unwrap()) {
                return text.into_owned();
            }
        }
        if caller.read_buf(&mut request).await.unwrap() == 0 {
            return String::from_utf8_lossy(&request).into_owned();
        }
    }
}

/// Corrects the `Content-Length` of a response.
fn with_true_length(response: String) -> String {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { return response };
    let lines = head.split("\r\n").map(|line| {
        let announces = line.starts_with("content-length: ") && !body.is_empty();
        if announces { format!("content-length: {}", body.len()) } else { line.to_owned() }
    });
    format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n"))
}
