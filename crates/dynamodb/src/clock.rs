//! The time of DynamoDB: the `Date` header of its responses.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aurora_discovery_registry::{Moment, StoreClock};
use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

/// The resolution of the `Date` header. The header has whole seconds, so the actual time may be up
/// to a second later.
pub(crate) const RESOLUTION: Duration = Duration::from_secs(1);

/// An interceptor that passes the time in each response of DynamoDB to the clock.
#[derive(Debug)]
pub(crate) struct DateReader(pub(crate) Arc<StoreClock>);

/// The moment at which an attempt was sent.
#[derive(Debug)]
struct SentAt(Moment);

impl Storable for SentAt {
    type Storer = StoreReplace<Self>;
}

impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "DateReader"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(SentAt(Moment::now()));
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // A proxy between this process and DynamoDB may respond itself, with the time of its own
        // clock. Only a response of DynamoDB has the header `x-amzn-requestid`.
        if let (Some(_), Some(date), Some(sent)) =
            (headers.get("x-amzn-requestid"), headers.get("date"), config.load::<SentAt>())
            && let Ok(date) = httpdate::parse_http_date(date)
        {
            self.0.observe(date.duration_since(UNIX_EPOCH).unwrap_or_default(), sent.0, Moment::now());
        }
        Ok(())
    }
}
