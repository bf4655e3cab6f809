//! Signals that ask the command to stop, or the service to read its files again.

/// Receives the signals that ask the service to stop, from the creation of this value on.
#[cfg(unix)]
pub(crate) struct StopSignals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl StopSignals {
    /// Starts to receive signals, so that one that arrives before the first call of `next` is not
    /// lost. If signals can't be received, the system's default handling stays.
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

/// Completes at the next Ctrl-C, SIGTERM or SIGHUP after this call. A SIGHUP that was ignored when
/// the command started, as under `nohup`, stays ignored.
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

/// The signals that `keep` passes on to its program: SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2.
#[cfg(unix)]
pub(crate) struct ForwardedSignals {
    streams: Vec<(rustix::process::Signal, tokio::signal::unix::Signal)>,
}

/// A signal for a program.
pub(crate) struct ForwardedSignal(#[cfg(unix)] rustix::process::Signal);

#[cfg(unix)]
impl ForwardedSignals {
    /// Receives signals from now on. Two signals are left out in some cases. SIGINT is left out if
    /// standard input is a terminal, because the terminal sends it to the program as well. SIGHUP
    /// is left out if this process ignores it, as under `nohup`.
    pub(crate) fn receive() -> Self {
        use std::io::IsTerminal as _;

        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};

        let mut kinds = vec![Signal::TERM, Signal::USR1, Signal::USR2];
        kinds.extend((!std::io::stdin().is_terminal()).then_some(Signal::INT));
        kinds.extend((!hangup_is_ignored()).then_some(Signal::HUP));
        let receive = |kind: Signal| Some((kind, signal(SignalKind::from_raw(kind.as_raw())).ok()?));
        Self { streams: kinds.into_iter().filter_map(receive).collect() }
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> ForwardedSignal {
        std::future::poll_fn(|context| {
            let received = |(kind, stream): &mut (_, tokio::signal::unix::Signal)| {
                stream.poll_recv(context).is_ready().then_some(*kind)
            };
            match self.streams.iter_mut().find_map(received) {
                Some(kind) => std::task::Poll::Ready(ForwardedSignal(kind)),
                None => std::task::Poll::Pending,
            }
        })
        .await
    }

    /// The signal that asks a program to stop.
    pub(crate) fn stop() -> ForwardedSignal {
        ForwardedSignal(rustix::process::Signal::TERM)
    }
}

#[cfg(unix)]
impl ForwardedSignal {
    /// Sends the signal to a program, unless it has ended.
    pub(crate) fn send_to(&self, child: &tokio::process::Child) {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        // A program that has just ended needs no signal.
        let _ = pid.map(|pid| rustix::process::kill_process(pid, self.0));
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

/// Whether this process ignores SIGHUP. The standard library has no function for this. Linux lists
/// the ignored signals as a hexadecimal mask, in which SIGHUP (1) is the lowest bit.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Forwards nothing, because on this system the console itself sends Ctrl-C to the program.
#[cfg(not(unix))]
pub(crate) struct ForwardedSignals;

#[cfg(not(unix))]
impl ForwardedSignals {
    pub(crate) fn receive() -> Self {
        Self
    }

    pub(crate) async fn next(&mut self) -> ForwardedSignal {
        std::future::pending().await
    }

    pub(crate) fn stop() -> ForwardedSignal {
        ForwardedSignal()
    }
}

#[cfg(not(unix))]
impl ForwardedSignal {
    /// Other systems have no signals to send.
    pub(crate) fn send_to(&self, _: &tokio::process::Child) {}
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

/// Other systems have no such signal.
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
