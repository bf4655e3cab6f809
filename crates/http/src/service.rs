//! The state that all requests share.

use std::sync::Arc;

use aurora_discovery_registry::Registry;
use tokio::sync::Semaphore;

use crate::budget::SourceBudget;
use crate::gzip::Compressor;
use crate::header::CommonHeaders;
use crate::history::History;
use crate::log::RequestLog;
use crate::metrics::Metrics;
use crate::network::established::Established;
use crate::options::ServiceOptions;
use crate::rate::Rates;
use crate::shutdown::Shutdown;
use crate::watch::Watchers;

/// The maximum number of bytes of request bodies that have arrived only in part, for all clients
/// together: eight thousand bodies of maximum length.
const MAX_UNFINISHED_BODY_BYTES: usize = 128 << 20;
/// The maximum number of bytes of large responses that clients have not read yet: about a hundred
/// of the largest pages. Without a limit, clients that send requests on many connections and never
/// read could fill the memory. A higher limit would also let them occupy the processors for longer
/// with pages that they do not read.
const MAX_PENDING_RESPONSE_BYTES: usize = 128 << 20;

/// For each processor, how many of the requests that wait for their turn (`Context::turn`) may run
/// before the runtime looks for new requests again.
const REQUESTS_PER_TURN: usize = 2;

/// The state of the service, which the router passes to the handlers.
pub(crate) struct Service {
    pub(crate) registry: Arc<Registry>,
    pub(crate) options: ServiceOptions,
    /// One permit for each request that may be in flight.
    pub(crate) permits: Semaphore,
    /// The rates of the sources.
    pub(crate) rates: Rates,
    pub(crate) metrics: Arc<Metrics>,
    /// Counts of the last minutes.
    pub(crate) history: History,
    /// The archetypes that warnings and metrics name.
    pub(crate) established: Established,
    pub(crate) watchers: Watchers,
    /// Bytes of request bodies that have arrived only in part.
    pub(crate) unfinished_bodies: Arc<SourceBudget>,
    /// Bytes of large responses that clients have not read yet.
    pub(crate) pending_responses: Arc<SourceBudget>,
    /// One permit for each request whose turn it is; see `Context::turn`.
    pub(crate) turns: Semaphore,
    pub(crate) compressor: Compressor,
    pub(crate) headers: CommonHeaders,
    pub(crate) log: RequestLog,
    pub(crate) shutdown: Shutdown,
}

impl Service {
    pub(crate) fn new(registry: Arc<Registry>, options: ServiceOptions) -> Self {
        let metrics = Arc::new(Metrics::default());
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let established = Established::new(registry.limits().ttl_default.as_millis());
        Self {
            registry,
            permits: Semaphore::new(options.max_in_flight.min(Semaphore::MAX_PERMITS)),
            rates: Rates::new(options.rate_limits),
            history: History::default(),
            established,
            watchers: Watchers::new(&options, metrics.clone()),
            metrics,
            unfinished_bodies: SourceBudget::new(MAX_UNFINISHED_BODY_BYTES),
            pending_responses: SourceBudget::new(MAX_PENDING_RESPONSE_BYTES),
            turns: Semaphore::new(REQUESTS_PER_TURN * processors),
            compressor: Compressor::new(),
            headers: CommonHeaders::new(options.cors),
            log: RequestLog::new(options.log_one_in),
            shutdown: Shutdown::default(),
            options,
        }
    }
}
