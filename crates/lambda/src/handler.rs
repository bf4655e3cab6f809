//! From an event to its answer.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aurora_http::{Clock, Origin, RequestId, ServiceOptions, router};
use aurora_registry::Registry;
use axum::Router;
use http::HeaderValue;
use tower::ServiceExt as _;

use crate::answer::{Answer, Outcome};
use crate::event::{Event, GatewayRequest};
use crate::metrics::Metrics;
use crate::runtime_api::{FunctionError, Invocation, RuntimeApi, RuntimeApiError};
use crate::settings::Settings;

/// What is kept of an invocation's time to hand the answer over.
const HANDING_OVER: Duration = Duration::from_millis(250);
/// Sweeps of one scheduled event. Where nothing is to do, one costs nothing; all of them clear what samples remember.
const SWEEPS: u32 = 40;
/// What must be left of an invocation for another sweep: the longest that the store lets one take.
const SWEEP_TIME: Duration = Duration::from_secs(5);
/// Where requests come from that come from nowhere: an address for documentation, which nobody has.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0));

/// Answers events, one at a time.
pub(crate) struct Handler {
    router: Router,
    registry: Arc<Registry>,
    clock: Clock,
    metrics: Metrics,
    /// When this process began.
    began: SystemTime,
}

impl Handler {
    pub(crate) fn new(registry: Arc<Registry>, settings: &Settings) -> Self {
        let mut options = ServiceOptions::default();
        options.cors = settings.cors;
        options.request_timeout = settings.request_timeout;
        options.log_one_in = settings.log_one_in;
        Self {
            router: router(Arc::clone(&registry), options),
            registry,
            clock: Clock::default(),
            metrics: Metrics::new(settings.custom_metrics),
            began: SystemTime::now(),
        }
    }

    /// Waits for an event and answers it.
    pub(crate) async fn serve_next(&self, api: &mut RuntimeApi) -> Result<(), RuntimeApiError> {
        let invocation = api.next().await?;
        let handled = self.handle(&invocation).await;
        self.metrics.write_if_due(&self.registry, self.clock.now());
        let handed_over = match handled {
            Ok(answer) => api.answer(&invocation, &answer).await,
            Err(message) => {
                tracing::error!(cause = %message, "an event could not be answered");
                api.fail(&invocation, &FunctionError { kind: "Runtime.EventError", message }).await
            }
        };
        match handed_over {
            // The next event can be answered all the same.
            Err(refused) if refused.is_of_one_event() => {
                tracing::error!(cause = %refused, "an answer was refused");
                Ok(())
            }
            handed_over => handed_over,
        }
    }

    /// The answer to an event, as JSON.
    async fn handle(&self, invocation: &Invocation) -> Result<Vec<u8>, String> {
        let outcome = match Event::read(&invocation.event)? {
            Event::Request(request) => Outcome::Answer(self.answer(*request, invocation).await?),
            Event::Other => {
                self.wake_up(invocation.deadline).await;
                Outcome::Nothing(())
            }
        };
        serde_json::to_vec(&outcome).map_err(|error| format!("the answer can't be written: {error}"))
    }

    async fn answer(&self, call: GatewayRequest, invocation: &Invocation) -> Result<Answer, String> {
        let started = Instant::now();
        let GatewayRequest { mut request, source, request_id, format } = call;
        let path = request.uri().path().to_owned();
        let invoked_as = HeaderValue::from_str(&invocation.request_id).ok();
        let request_id = request_id.or_else(|| RequestId::accept(&invoked_as?));
        request.extensions_mut().insert(Origin {
            address: source.unwrap_or(NOWHERE),
            request_id: request_id.unwrap_or_else(RequestId::fresh),
            time_left: time_left(invocation.deadline, self.began, SystemTime::now()),
        });
        let Ok(response) =
            self.router.clone().oneshot(request).await.map_err(|never: Infallible| match never {});
        self.metrics.answered(&path, response.status(), started.elapsed());
        let answer = Answer::of(response, format).await;
        answer.map_err(|error| format!("the answer's body can't be read: {error}"))
    }

    /// Uses the time that a schedule gives, for what no request should wait for.
    async fn wake_up(&self, deadline: u64) {
        tracing::debug!("woken up by an event that is no request");
        for _ in 0..SWEEPS {
            let left = time_left(deadline, self.began, SystemTime::now());
            if left.is_some_and(|left| left < SWEEP_TIME) {
                return;
            }
            if let Err(error) = self.registry.sweep(self.clock.now()).await {
                return tracing::warn!(cause = %error, "the registry could not be swept");
            }
        }
    }
}

/// How long an answer may take from `now` on, of an invocation that ends at `deadline`, in milliseconds since 1970. `None` where that
/// was over before this process `began`: Lambda hands no such event over, but `cargo lambda` says ten minutes after 1970.
fn time_left(deadline: u64, began: SystemTime, now: SystemTime) -> Option<Duration> {
    let [began, now] = [began, now].map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default());
    let deadline = Duration::from_millis(deadline);
    (deadline > began).then(|| deadline.saturating_sub(now).saturating_sub(HANDING_OVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leaves_time_to_be_handed_over_and_none_is_left_after_the_deadline() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let left = |now| time_left(10_000, at(8_000), at(now));
        assert_eq!(left(9_000), Some(Duration::from_millis(750)));
        assert_eq!(left(9_750), Some(Duration::ZERO));
        assert_eq!(left(20_000), Some(Duration::ZERO));
    }

    #[test]
    fn a_deadline_from_before_the_process_is_none() {
        let (began, now) = (SystemTime::now(), SystemTime::now());
        assert_eq!(time_left(600_000, began, now), None);
    }
}
