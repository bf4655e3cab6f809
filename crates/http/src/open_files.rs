//! The number of files, and therefore connections, that the system lets the process open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of files other than connections: listeners, the store's files, standard streams,
/// files of libraries.
const RESERVED: u64 = 128;

/// The number of open files that was requested and granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The number that the limit on connections requires.
    pub wanted: u64,
    /// The number that the process may open now.
    pub granted: u64,
}

impl OpenFiles {
    /// Raises the soft limit, and the hard limit if permitted, as far as `connections` require.
    pub(crate) fn raise(connections: usize) -> Self {
        let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(RESERVED);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_some_and(|current| current < wanted) {
            // `None` is an unlimited hard limit, which need not be raised.
            let ceiling = maximum.map_or(wanted, |maximum| maximum.max(wanted));
            let higher = Rlimit { current: Some(wanted), maximum: maximum.map(|_| ceiling) };
            let highest = Rlimit { current: Some(maximum.map_or(wanted, |m| m.min(wanted))), maximum };
            // Only a privileged process may raise the hard limit. If neither can be raised, the
            // result reports what was granted.
            let _ = setrlimit(Resource::Nofile, higher).or_else(|_| setrlimit(Resource::Nofile, highest));
        }
        Self { wanted, granted: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) }
    }

    /// How many connections fit into the granted number.
    pub(crate) fn connections(&self, wanted: usize) -> usize {
        let available = self.granted.saturating_sub(RESERVED).max(1);
        usize::try_from(available).unwrap_or(usize::MAX).min(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_connections_is_lowered_to_the_granted_files() {
        let open_files = OpenFiles { wanted: 20_128, granted: 1_024 };
        assert_eq!(open_files.connections(20_000), 896);
        assert_eq!(open_files.connections(100), 100);
        assert_eq!(OpenFiles { wanted: 0, granted: 3 }.connections(100), 1);
    }
}
