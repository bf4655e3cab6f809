//! Signals that ask the command to stop, or the service to read its files again.

use std::io::IsTerminal as _;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

/// Receives the signals that ask the service to stop, from the creation of this value on.
pub(crate) struct StopSignals {
    interrupt: Option<SignalStream>,
    terminate: Option<SignalStream>,
}

impl StopSignals {
    /// Starts to receive signals, so that one that arrives before the first call of `next` is not
    /// lost. If signals can't be received, the system's default handling stays.
    pub(crate) fn receive() -> Self {
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
pub(crate) fn stop_requested() -> impl Future<Output = ()> {
    let mut signals = StopSignals::receive();
    async move {
        signals.next().await;
    }
}

/// The signal that asks the service to read its files again: SIGHUP. It is received even if it was
/// ignored when the command started, as under `nohup`, because it does not end the service.
pub(crate) struct ReloadSignals(Option<SignalStream>);

impl ReloadSignals {
    /// Receives signals from now on.
    pub(crate) fn receive() -> Self {
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Completes at the next signal.
    pub(crate) async fn next(&mut self) {
        received(self.0.as_mut()).await;
    }
}

/// Completes at the next Ctrl-C, SIGTERM or SIGHUP after this call. A SIGHUP that was ignored when
/// the command started, as under `nohup`, stays ignored.
pub(crate) fn leave_requested() -> impl Future<Output = ()> {
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
pub(crate) struct ForwardedSignals {
    streams: Vec<(Signal, SignalStream)>,
}

/// A signal for a program.
pub(crate) struct ForwardedSignal(Signal);

impl ForwardedSignals {
    /// Receives signals from now on. Two signals are left out in some cases. SIGINT is left out if
    /// standard input is a terminal, because the terminal sends it to the program as well. SIGHUP
    /// is left out if this process ignores it, as under `nohup`.
    pub(crate) fn receive() -> Self {
        let mut kinds = vec![Signal::TERM, Signal::USR1, Signal::USR2];
        kinds.extend((!std::io::stdin().is_terminal()).then_some(Signal::INT));
        kinds.extend((!hangup_is_ignored()).then_some(Signal::HUP));
        let receive = |kind: Signal| Some((kind, signal(SignalKind::from_raw(kind.as_raw())).ok()?));
        Self { streams: kinds.into_iter().filter_map(receive).collect() }
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> ForwardedSignal {
        std::future::poll_fn(|context| {
            let received = |(kind, stream): &mut (_, SignalStream)| {
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
        ForwardedSignal(Signal::TERM)
    }
}

impl ForwardedSignal {
    /// Sends the signal to a program, unless it has ended.
    pub(crate) fn send_to(&self, child: &tokio::process::Child) {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // A program that has just ended needs no signal.
        let _ = pid.map(|pid| kill_process(pid, self.0));
    }
}

/// Makes a write that exceeds the limit of the file size (`ulimit -f`) fail, as on a full disk. By
/// default, SIGXFSZ ends the process.
pub(crate) fn report_file_size_limit() {
    // The handler stays installed after the stream of signals is dropped.
    if let Err(error) = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())) {
        tracing::warn!(%error, "cannot handle SIGXFSZ; a file that exceeds the limit of its size ends the service");
    }
}

/// Completes at the next signal of this kind.
async fn received(signal: Option<&mut SignalStream>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process ignores SIGHUP. The standard library has no function for this. Linux lists
/// the ignored signals as a hexadecimal mask, in which SIGHUP (1) is the lowest bit. On other
/// systems, this returns false.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
