//! Signals that ask the command to stop, or the service to read its files again.

/// The signals that ask the service to stop, from the moment of this value's creation on.
#[cfg(unix)]
pub(crate) struct StopSignals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl StopSignals {
    /// Receives signals from now on, so that one that arrives before it is waited for is not lost.
    /// If signals can't be received, the system's default handling stays.
    pub(crate) fn receive() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// The name of the next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            () = received(self.interrupt.as_mut()) => "SIGINT",
            () = received(self.terminate.as_mut()) => "SIGTERM",
        }
    }
}

/// Completes at the next Ctrl-C or SIGTERM after this call. If signals can't be received, it never
/// completes, and the system's default handling stays.
#[cfg(unix)]
pub(crate) fn stop_requested() -> impl Future<Output = ()> {
    let mut signals = StopSignals::receive();
    async move {
        signals.next().await;
    }
}

/// The signal that asks the service to read its files again: SIGHUP. It is received even if it was
/// ignored when the command started, as under `nohup`, because it does not end the service.
#[cfg(unix)]
pub(crate) struct ReloadSignals(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl ReloadSignals {
    /// Receives signals from now on.
    pub(crate) fn receive() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self(signal(SignalKind::hangup()).ok())
    }

    /// Completes at the next signal.
    pub(crate) async fn next(&mut self) {
        received(self.0.as_mut()).await;
    }
}

/// Completes at the next Ctrl-C, SIGTERM or SIGHUP after this call. SIGHUP is left alone if it was
/// ignored when the command started, as `nohup` arranges.
#[cfg(unix)]
pub(crate) fn leave_requested() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = if hangup_is_ignored() { None } else { signal(SignalKind::hangup()).ok() };
    let stop = stop_requested();
    async move {
        tokio::select! {
            () = stop => {}
            () = received(hangup.as_mut()) => {}
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

/// Completes at the next signal of this kind.
#[cfg(unix)]
async fn received(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process ignores SIGHUP. The standard library cannot tell; Linux lists the ignored
/// signals as a hexadecimal mask, in which SIGHUP (1) is the lowest bit.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Ctrl-C, the only signal of this system.
#[cfg(not(unix))]
pub(crate) struct StopSignals;

#[cfg(not(unix))]
impl StopSignals {
    pub(crate) fn receive() -> Self {
        Self
    }

    pub(crate) async fn next(&mut self) -> &'static str {
        stop_requested().await;
        "Ctrl-C"
    }
}

/// This system has no signal for it.
#[cfg(not(unix))]
pub(crate) struct ReloadSignals;

#[cfg(not(unix))]
impl ReloadSignals {
    pub(crate) fn receive() -> Self {
        Self
    }

    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
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
