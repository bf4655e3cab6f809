//! Handles events and returns responses.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aurora_discovery_http::{Clock, DiscoveryService, Origin, RequestId};
use aurora_discovery_registry::Registry;
use axum::body::Body;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use lambda_http::{Adapter, Request};
use lambda_runtime::{Context, LambdaEvent};
use serde::Serialize;
use tower::{Service as _, service_fn};

use crate::event::{Event, GatewayEvent, X_FORWARDED_FOR};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// The part of an invocation's time that is reserved for delivering the response.
const DELIVERY_TIME: Duration = Duration::from_millis(250);
/// The maximum number of sweeps for one scheduled event. A sweep with nothing to do costs nothing.
/// While the store looks for peers to list, it records the long-dormant peers that it comes across,
/// up to a maximum number. This many sweeps suffice to remove all of them.
const SWEEPS_PER_EVENT: u32 = 40;
/// The time that an invocation must have left for another sweep: the maximum duration of a sweep,
/// which the store enforces.
const SWEEP_TIME: Duration = Duration::from_secs(5);
/// The source of requests whose event names none: an address that is reserved for documentation, so
/// no client has it.
const UNKNOWN_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0));

/// Handles events, one at a time.
pub(crate) struct Handler {
    discovery: DiscoveryService,
    registry: Arc<Registry>,
    clock: Clock,
    metrics: Metrics,
    /// The number of the operator's proxies in front of the gateway.
    trusted_hops: usize,
    /// When this process started.
    started: SystemTime,
}

impl Handler {
    pub(crate) fn new(registry: Arc<Registry>, settings: &Settings) -> Self {
        Self {
            discovery: DiscoveryService::new(Arc::clone(&registry), settings.service.clone()),
            registry,
            clock: Clock::default(),
            metrics: Metrics::new(settings.custom_metrics),
            trusted_hops: settings.trusted_hops,
            started: SystemTime::now(),
        }
    }

    /// Handles an event. A request has a response; any other event has none.
    pub(crate) async fn handle(
        &self,
        event: LambdaEvent<Event>,
    ) -> Result<Option<impl Serialize + use<>>, Infallible> {
        let LambdaEvent { payload, context } = event;
        let response = match payload {
            Event::Request(request) => Some(self.respond(*request, context).await?),
            Event::Other => {
                self.sweep(context.deadline).await;
                None
            }
        };
        // This comes before the response is delivered, because Lambda may freeze the process
        // afterwards.
        self.metrics.write_if_due(&self.registry, self.clock.now());
        Ok(response)
    }

    /// The response to a request. `lambda_http` builds the HTTP request from the event, and turns
    /// the HTTP response into JSON. In between, this function sets the URI, the headers and the
    /// origin from what the gateway reported.
    async fn respond(
        &self,
        event: GatewayEvent,
        context: Context,
    ) -> Result<impl Serialize + use<>, Infallible> {
        let GatewayEvent { request, uri, headers, source, forwarded_for, request_id } = event;
        let invocation = || RequestId::accept(&HeaderValue::from_str(&context.request_id).ok()?);
        let origin = Origin {
            address: client(source.unwrap_or(UNKNOWN_SOURCE), forwarded_for, self.trusted_hops),
            request_id: request_id.or_else(invocation).unwrap_or_else(RequestId::fresh),
            time_left: time_left(context.deadline, self.started, SystemTime::now()),
        };
        let service = service_fn(|mut request: Request| {
            *request.uri_mut() = uri.clone();
            request.headers_mut().extend(headers.clone());
            self.route(request, origin.clone())
        });
        Adapter::from(service).call(LambdaEvent::new(request, context)).await
    }

    async fn route(&self, request: Request, origin: Origin) -> Result<Response<Body>, Infallible> {
        let started = Instant::now();
        let path = request.uri().path().to_owned();
        let mut response = self.discovery.respond(request, origin).await;
        self.metrics.record(&path, response.status(), started.elapsed());
        // The gateway sets `Content-Length` itself. In a response to HEAD, the service's value
        // would not match the empty body that the gateway sends.
        response.headers_mut().remove(CONTENT_LENGTH);
        Ok(response)
    }

    /// Sweeps the store during a scheduled event, so that no request has to wait for this work.
    async fn sweep(&self, deadline: u64) {
        tracing::debug!("the event is not a request");
        for _ in 0..SWEEPS_PER_EVENT {
            let left = time_left(deadline, self.started, SystemTime::now());
            if left.is_some_and(|left| left < SWEEP_TIME) {
                return;
            }
            if let Err(error) = self.registry.store().sweep(self.clock.now()).await {
                return tracing::warn!(cause = %error, "the sweep failed");
            }
        }
    }
}

/// The address of the client whose request reached the gateway from `source`.
fn client(source: IpAddr, forwarded_for: Option<HeaderValue>, trusted_hops: usize) -> IpAddr {
    if trusted_hops == 0 {
        return source;
    }
    let headers = forwarded_for.into_iter().map(|value| (X_FORWARDED_FOR, value)).collect();
    // The gateway has appended `source` to the header, so the gateway counts as one more hop. If the
    // header has too few entries for all hops, or the client's entry is not an address, the request
    // did not pass through all of the operator's proxies. `source` then counts as the client.
    Origin::of(&headers, source, trusted_hops + 1).map_or(source, |origin| origin.address)
}

/// How long a response may take, starting at `now`, in an invocation that ends at `deadline`, in
/// milliseconds since 1970. `None` if the deadline passed before this process `started`: Lambda
/// delivers no such event, but `cargo lambda` sends a deadline of 600,000 ms.
fn time_left(deadline: u64, started: SystemTime, now: SystemTime) -> Option<Duration> {
    let [started, now] = [started, now].map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default());
    let deadline = Duration::from_millis(deadline);
    (deadline > started).then(|| deadline.saturating_sub(now).saturating_sub(DELIVERY_TIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_address_that_the_outermost_trusted_hop_was_called_from() {
        let gateway_called_from: IpAddr = "198.51.100.1".parse().unwrap();
        let client = |forwarded: &str, hops| {
            let forwarded = HeaderValue::from_str(forwarded).ok().filter(|value| !value.is_empty());
            client(gateway_called_from, forwarded, hops).to_string()
        };
        let forwarded = "10.9.9.9, 203.0.113.7, 198.51.100.1";
        assert_eq!(client(forwarded, 0), "198.51.100.1");
        assert_eq!(client(forwarded, 1), "203.0.113.7");
        assert_eq!(client("", 1), "198.51.100.1");
        assert_eq!(client("198.51.100.1", 1), "198.51.100.1", "it did not pass through the hop");
    }

    #[test]
    fn the_time_left_excludes_the_delivery_and_is_zero_after_the_deadline() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let left = |now| time_left(10_000, at(8_000), at(now));
        assert_eq!(left(9_000), Some(Duration::from_millis(750)));
        assert_eq!(left(9_750), Some(Duration::ZERO));
        assert_eq!(left(20_000), Some(Duration::ZERO));
    }

    #[test]
    fn a_deadline_before_the_start_of_the_process_is_ignored() {
        let now = SystemTime::now();
        assert_eq!(time_left(600_000, now, now), None);
    }
}
