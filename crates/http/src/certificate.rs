//! The task that reads a changed certificate, and warns before it expires.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval};

use crate::tls::Tls;

/// How often the files are compared with what was read. Tools that renew certificates replace the
/// files days before the old certificate expires.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long before its end the log warns of a certificate: ACME clients renew 30 days before it,
/// so that their renewals have then failed for two weeks.
const WARNING_PERIOD: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Keeps the certificate up to date until the future is dropped.
pub(crate) async fn keep_certificate(tls: Arc<Tls>) {
    let mut interval = interval(CHECK_INTERVAL);
    let mut failing = None;
    let mut warned: Option<Instant> = None;
    loop {
        interval.tick().await;
        let reading = tls.clone();
        // If the runtime shuts down, the result does not matter.
        let Ok(result) = spawn_blocking(move || reading.reload()).await else { return };
        let failure = result.as_ref().err().map(ToString::to_string);
        match result {
            Ok(true) => tracing::info!(certificate = %tls.path().display(), "the certificate was renewed"),
            // A failure that persists is logged once.
            Err(error) if failing != failure => {
                tracing::error!(
                    cause = %error,
                    "the changed certificate can't be used; the previous one stays in use"
                );
            }
            Ok(false) | Err(_) => {}
        }
        failing = failure;
        let left = tls.time_left(SystemTime::now()).filter(|left| *left < WARNING_PERIOD);
        match left {
            Some(left) if warned.is_none_or(|warned| warned.elapsed() >= DAY) => {
                warned = Some(Instant::now());
                warn(tls.path(), left);
            }
            Some(_) => {}
            None => warned = None,
        }
    }
}

fn warn(path: &Path, left: Duration) {
    let certificate = path.display();
    if left.is_zero() {
        tracing::error!(%certificate, "the certificate has expired, and clients refuse it; renew it");
    } else {
        let days = left.as_secs() / DAY.as_secs();
        tracing::warn!(%certificate, days, "the certificate expires soon; renew it");
    }
}
