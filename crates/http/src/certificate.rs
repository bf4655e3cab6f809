//! The task that reloads the TLS certificate when its files change, and warns before it expires.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval};

use crate::tls::Tls;

/// How often the files are compared with the certificate and the key in use. A minute is soon
/// enough, because tools that renew certificates replace the files days before the old certificate
/// expires.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The log warns when a certificate has less time left than this. ACME clients renew a certificate
/// 30 days before it expires. If only 14 days are left, the renewals have already failed for two
/// weeks.
const WARNING_PERIOD: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Reloads the certificate when its files have changed, and warns before it expires, until the
/// future is dropped.
pub(crate) async fn reload_certificate_forever(tls: Arc<Tls>) {
    let mut interval = interval(CHECK_INTERVAL);
    let mut failing = None;
    let mut warning = DailyWarning::default();
    loop {
        interval.tick().await;
        let reading = tls.clone();
        // An error means that the runtime shuts down, or that `reload` has panicked. After a
        // panic, this task no longer reloads the certificate or warns of its expiry.
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
        if let Some(left) = warning.due(tls.time_left(SystemTime::now())) {
            warn(tls.path(), left);
        }
    }
}

/// Warns of a certificate that expires soon, once a day.
#[derive(Default)]
struct DailyWarning {
    last: Option<Instant>,
}

impl DailyWarning {
    /// The time that a certificate has left, if a warning about it is due now.
    fn due(&mut self, left: Option<Duration>) -> Option<Duration> {
        let Some(left) = left.filter(|left| *left < WARNING_PERIOD) else {
            self.last = None;
            return None;
        };
        let is_due = self.last.is_none_or(|last| last.elapsed() >= DAY);
        is_due.then(|| {
            self.last = Some(Instant::now());
            left
        })
    }
}

fn warn(path: &Path, left: Duration) {
    let certificate = path.display();
    if left.is_zero() {
        tracing::error!(%certificate, "the certificate has expired, and clients reject it; renew it");
    } else {
        let days = left.as_secs() / DAY.as_secs();
        tracing::warn!(%certificate, days, "the certificate expires soon; renew it");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::options::TlsFiles;

    /// Writes a certificate that expires in `year`. Returns the time of its expiry, in seconds
    /// since 1970.
    fn write_certificate(files: &TlsFiles, year: i32) -> u64 {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        u64::try_from(params.not_after.unix_timestamp()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_certificate_is_used_within_a_minute_unless_it_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        let files = TlsFiles { cert, key };
        let first = write_certificate(&files, 2100);
        let tls = Arc::new(Tls::load(&files).unwrap());
        let keeping = tokio::spawn(reload_certificate_forever(tls.clone()));
        sleep(CHECK_INTERVAL).await;
        assert_eq!(tls.expires_at(), Some(first));

        let second = write_certificate(&files, 2101);
        sleep(2 * CHECK_INTERVAL).await;
        assert_eq!(tls.expires_at(), Some(second));

        fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        sleep(2 * CHECK_INTERVAL).await;
        assert_eq!(tls.expires_at(), Some(second));
        assert!(tls.reload().unwrap_err().to_string().contains("can't be used together"));
        keeping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_warning_begins_14_days_before_the_end_and_comes_once_a_day() {
        let mut warning = DailyWarning::default();
        let days = |days: u32| Some(days * DAY);
        assert_eq!(warning.due(days(15)), None);
        assert_eq!(warning.due(days(13)), days(13));
        assert_eq!(warning.due(days(13)), None);
        advance(DAY).await;
        assert_eq!(warning.due(days(12)), days(12));
        assert_eq!(warning.due(days(90)), None);
        assert_eq!(warning.due(days(0)), days(0), "a renewal resets the warning");
        assert_eq!(warning.due(None), None);
    }
}
