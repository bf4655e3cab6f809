//! Signals that ask the command to stop.

/// Completes at the next Ctrl-C or SIGTERM after this call. If signals can't be received, it never
/// completes, and the system's default handling stays.
#[cfg(unix)]
pub(crate) fn stop_requested() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    async fn received(signal: std::io::Result<Signal>) {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
    // The handlers are installed now, not at the first poll, so that a signal in between is not
    // lost.
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        tokio::select! {
            () = received(interrupt) => {}
            () = received(terminate) => {}
        }
    }
}

/// Completes at the next Ctrl-C, SIGTERM or SIGHUP after this call. SIGHUP is left alone if it was
/// ignored when the command started, as `nohup` arranges.
#[cfg(unix)]
pub(crate) fn leave_requested() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};

    let hangup = if hangup_is_ignored() { None } else { signal(SignalKind::hangup()).ok() };
    let stop = stop_requested();
    async {
        let hung_up = async {
            match hangup {
                Some(mut hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop => {}
            () = hung_up => {}
        }
    }
}

/// Makes a write that exceeds the limit of the file size (`ulimit -f`) fail, as on a full disk. By
/// default, SIGXFSZ ends the process.
#[cfg(unix)]
pub(crate) fn report_file_size_limit() {
    use rustix::process::Signal;
    use tokio::signal::unix::{SignalKind, signal};

    // The handler stays installed after the stream of signals is dropped.
    if let Err(error) = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())) {
        tracing::warn!(%error, "cannot handle SIGXFSZ; a file that exceeds the limit of its size ends the service");
    }
}

/// Other systems have no such signal.
#[cfg(not(unix))]
pub(crate) fn report_file_size_limit() {}

/// Whether this process ignores SIGHUP. The standard library cannot tell; Linux lists the ignored
/// signals as a hexadecimal mask, in which SIGHUP (1) is the lowest bit.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Completes at the next Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn leave_requested() {
    stop_requested().await;
}

/// Completes at the next Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn stop_requested() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
