//! The confirmation that changes are durable. The command `WAITAOF` confirms that servers have the
//! earlier writes of the same connection on disk. The command `WAIT` confirms that replicas have
//! them in memory. Depending on the options, the store sends one of them, or `WAIT` and then
//! `WAITAOF`. It checks the reply to the last one, which is called the *confirming command* here. A
//! replica in this module is a Valkey server that copies the primary.

use redis::{Pipeline, Value};

use crate::options::ValkeyOptions;

/// How long the server waits at most, in milliseconds, until the replicas have the changes in
/// memory.
const MEMORY_MILLIS: u32 = 256;
/// How long the first confirming command waits at most, in milliseconds. For each confirming
/// command, the server asks the replicas once. A replica that has not synced its disk at that
/// moment reports the sync only a second later, or when it is asked again. Several commands with
/// short waits are therefore faster than one with a long wait.
pub(crate) const FIRST_MILLIS: u32 = 4;
/// How long the last confirming command waits at most, in milliseconds. Each confirming command
/// waits up to twice as long as the one before it.
pub(crate) const LAST_MILLIS: u32 = 1_024;

/// What must be confirmed before a registration is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// The primary and this many replicas have the registration on disk.
    Disks { replicas: u32 },
    /// This many replicas have the registration in memory.
    Memory { replicas: u32 },
}

impl Confirmation {
    /// The confirmation that the options require. `None` if the response to the script is enough.
    pub(crate) fn required(options: &ValkeyOptions) -> Option<Self> {
        match (options.weak_durability, options.replicas) {
            (false, replicas) => Some(Self::Disks { replicas }),
            (true, 0) => None,
            (true, replicas) => Some(Self::Memory { replicas }),
        }
    }

    /// Adds the commands that follow the changes in the pipeline. Returns their number. The last
    /// one is the confirming command, which waits for at most `millis` milliseconds.
    ///
    /// With `WAITAOF` alone, the server would ask the replicas at once, and they would respond
    /// before they have synced the changes to disk. So a `WAIT` comes first, which ends when enough
    /// replicas have the changes in memory. A replica syncs them before it reads its next command,
    /// so its response to the `WAITAOF` counts them.
    pub(crate) fn push_first(self, pipeline: &mut Pipeline, millis: u32) -> usize {
        let asks_replicas = match self {
            Self::Disks { replicas } if replicas > 0 => {
                pipeline.cmd("WAIT").arg(replicas).arg(MEMORY_MILLIS);
                true
            }
            _ => false,
        };
        self.push(pipeline, millis);
        1 + usize::from(asks_replicas)
    }

    /// Adds the confirming command, which waits for at most `millis` milliseconds.
    pub(crate) fn push(self, pipeline: &mut Pipeline, millis: u32) {
        match self {
            Self::Disks { replicas } => pipeline.cmd("WAITAOF").arg(1).arg(replicas).arg(millis),
            Self::Memory { replicas } => pipeline.cmd("WAIT").arg(replicas).arg(millis),
        };
    }

    /// Checks the reply to the confirming command.
    ///
    /// # Errors
    /// The reason why the changes are not confirmed. `reply` is `None` if there was none.
    pub(crate) fn check(self, reply: Option<Value>) -> Result<(), String> {
        match (self, reply) {
            (_, Some(Value::ServerError(error))) => Err(error.to_string()),
            (Self::Disks { replicas }, Some(Value::Array(counts))) => {
                let [Value::Int(local), Value::Int(remote)] = counts[..] else {
                    return Err("WAITAOF returned another list".to_owned());
                };
                if local < 1 {
                    return Err("the primary did not sync its disk in time".to_owned());
                }
                check_count(remote, replicas)
            }
            (Self::Memory { replicas }, Some(Value::Int(count))) => check_count(count, replicas),
            _ => Err("the server did not confirm it".to_owned()),
        }
    }
}

fn check_count(count: i64, replicas: u32) -> Result<(), String> {
    if count >= i64::from(replicas) {
        return Ok(());
    }
    Err(format!("{count} of {replicas} replicas confirmed it in time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counts_of_waitaof_are_checked() {
        let disks = Confirmation::Disks { replicas: 1 };
        let reply = |local, remote| Some(Value::Array(vec![Value::Int(local), Value::Int(remote)]));
        assert_eq!(disks.check(reply(1, 1)), Ok(()));
        assert_eq!(disks.check(reply(1, 2)), Ok(()));
        assert!(disks.check(reply(0, 1)).unwrap_err().contains("primary"));
        assert!(disks.check(reply(1, 0)).unwrap_err().contains("0 of 1 replicas"));
        assert!(disks.check(Some(Value::Int(1))).is_err() && disks.check(None).is_err());
        let memory = Confirmation::Memory { replicas: 2 };
        assert_eq!(memory.check(Some(Value::Int(2))), Ok(()));
        assert!(memory.check(Some(Value::Int(1))).is_err());
    }

    #[test]
    fn replicas_are_asked_for_their_disks_after_they_have_the_changes_in_memory() {
        let commands = |confirmation: Confirmation| {
            let mut pipeline = Pipeline::new();
            let count = confirmation.push_first(&mut pipeline, FIRST_MILLIS);
            let name = |command: &redis::Cmd| match command.args_iter().next() {
                Some(redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
                _ => String::new(),
            };
            let names: Vec<_> = pipeline.cmd_iter().map(name).collect();
            assert_eq!(names.len(), count);
            names
        };
        assert_eq!(commands(Confirmation::Disks { replicas: 1 }), ["WAIT", "WAITAOF"]);
        assert_eq!(commands(Confirmation::Disks { replicas: 0 }), ["WAITAOF"]);
        assert_eq!(commands(Confirmation::Memory { replicas: 1 }), ["WAIT"]);
    }

    #[test]
    fn weak_durability_needs_no_disk() {
        let required = |weak_durability, replicas| {
            Confirmation::required(&ValkeyOptions { weak_durability, replicas, ..ValkeyOptions::new("") })
        };
        assert_eq!(required(false, 0), Some(Confirmation::Disks { replicas: 0 }));
        assert_eq!(required(true, 0), None);
        assert_eq!(required(true, 1), Some(Confirmation::Memory { replicas: 1 }));
    }
}
