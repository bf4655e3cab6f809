//! Tells systemd the state of the service, as a unit with `Type=notify` expects it.

/// The states of the service that systemd knows.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// It serves requests.
    Ready,
    /// It reloads its files. [`State::Ready`] follows.
    Reloading,
    /// It has begun to stop.
    Stopping,
}

/// Sends the state to the service manager, if there is one. The service does not depend on it, so a
/// failure is only logged.
#[cfg(target_os = "linux")]
pub(super) fn notify(state: State) {
    use sd_notify::NotifyState;

    let sent = match state {
        State::Ready => sd_notify::notify(&[NotifyState::Ready]),
        // systemd orders the messages of a reload by this time.
        State::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        State::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = sent {
        tracing::warn!(?state, cause = %error, "the service manager can't be notified");
    }
}

/// Does nothing, because only Linux has systemd.
#[cfg(not(target_os = "linux"))]
pub(super) fn notify(_: State) {}
