//! How many files, and so connections, the system lets the process have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the connections: listeners, the store's, standard streams, what libraries open.
const RESERVED: u64 = 128;

/// How many files were asked for and granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What the bound on connections needs.
    pub wanted: u64,
    /// What the process may have open now.
    pub granted: u64,
}

impl OpenFiles {
    /// Raises the soft limit, and where it may the hard one, as far as `connections` need it.
    pub(crate) fn raise(connections: usize) -> Self {
        let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(RESERVED);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_some_and(|current| current < wanted) {
            let ceiling = maximum.map_or(wanted, |maximum| maximum.max(wanted));
            let higher = Rlimit { current: Some(wanted), maximum: maximum.map(|_| ceiling) };
            let highest = Rlimit { current: Some(maximum.map_or(wanted, |m| m.min(wanted))), maximum };
            // Only a privileged process may raise the hard limit; without either, what is granted
            // is told.
            let _ = setrlimit(Resource::Nofile, higher).or_else(|_| setrlimit(Resource::Nofile, highest));
        }
        Self { wanted, granted: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) }
    }

    /// How many connections fit what was granted.
    pub(crate) fn connections(&self, wanted: usize) -> usize {
        let room = self.granted.saturating_sub(RESERVED).max(1);
        usize::try_from(room).unwrap_or(usize::MAX).min(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_lowered_to_what_is_granted() {
        let open_files = OpenFiles { wanted: 20_128, granted: 1_024 };
        assert_eq!(open_files.connections(20_000), 896);
        assert_eq!(open_files.connections(100), 100);
        assert_eq!(OpenFiles { wanted: 0, granted: 3 }.connections(100), 1);
    }
}
