//! The audit log: a line of JSON for each registration, refusal, removal and action of an operator.
//!
//! A thread writes the lines, so that no request waits for a disk. If the thread falls behind,
//! lines are lost and counted, and no request is refused or delayed.

mod event;
mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use file::{AuditFile, Message};

pub(crate) use event::{Action, Audited, Entry, RefusedPeers};

/// The maximum number of lines that wait to be written. They take some megabytes. If the disk
/// stalls for so long that this number is reached, further lines are lost.
const MAX_WAITING: usize = 16_384;
/// How often a flush checks whether a full queue has room again.
const FLUSH_RETRY: Duration = Duration::from_millis(10);

/// The audit log can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct AuditError {
    /// The file.
    path: PathBuf,
    source: io::Error,
}

/// An open audit log. Clones share it.
#[derive(Clone, Debug)]
pub struct AuditLog {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// What requests and the writing thread share.
#[derive(Debug, Default)]
struct Shared {
    /// Whether the file is to be opened again before the next line.
    reopen: AtomicBool,
    /// The number of lines that were lost since the last call of [`AuditLog::take_lost`].
    lost: AtomicU64,
}

impl AuditLog {
    /// Opens the file to append to it, or standard output if its name is `-`. A new file gets mode
    /// 0600, because the log has the addresses of clients.
    ///
    /// # Errors
    /// [`AuditError`] if the file can't be opened, or if the writing thread can't be started.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let error = |source| AuditError { path: path.to_owned(), source };
        let file = AuditFile::open(path).map_err(error)?;
        let (sender, messages) = sync_channel(MAX_WAITING);
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("audit-log".to_owned());
        thread.spawn(move || file.write_all(&messages, &of_thread)).map_err(error)?;
        Ok(Self { sender, shared })
    }

    /// Makes the writing thread open the file again, after another process has renamed it.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // Wakes the thread, which would otherwise keep the renamed file open until the next line.
        // If the queue is full, the next message in it has the same effect.
        let _ = self.sender.try_send(Message::Wake);
    }

    /// Queues a line to be written. If too many wait already, the line is lost and counted.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        match self.sender.try_send(Message::Line(entry.to_line())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// The number of lines that were lost since the last call.
    pub(crate) fn take_lost(&self) -> u64 {
        self.shared.lost.swap(0, Relaxed)
    }

    /// Blocks until all queued lines are written, but not for longer than `limit`. Returns whether they
    /// are written.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let (done, is_done) = sync_channel(1);
        let mut message = Message::Flush(done);
        // The channel of the standard library can't wait for room with a time limit.
        while let Err(TrySendError::Full(unsent)) = self.sender.try_send(message) {
            if Instant::now() >= deadline {
                return false;
            }
            message = unsent;
            thread::sleep(FLUSH_RETRY);
        }
        is_done.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Enough for any disk, even if the machine is busy.
    const LONG: Duration = Duration::from_mins(1);

    /// Queues lines, and waits until they are written.
    fn write(log: &AuditLog, lines: &[&str]) {
        for text in lines {
            log.sender.send(Message::Line(format!("{text}\n"))).unwrap();
        }
        assert!(log.flush(LONG));
    }

    #[test]
    fn lines_are_appended_and_a_renamed_file_is_replaced_on_request() {
        let directory = tempfile::tempdir().unwrap();
        let [path, old] = ["audit.jsonl", "audit.jsonl.1"].map(|name| directory.path().join(name));
        fs::write(&path, "before\n").unwrap();
        let log = AuditLog::open(&path).unwrap();
        write(&log, &["one"]);
        fs::rename(&path, &old).unwrap();
        write(&log, &["two"]);
        log.reopen();
        write(&log, &["three"]);
        assert_eq!(fs::read_to_string(&old).unwrap(), "before\none\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(log.take_lost(), 0);
    }

    #[test]
    fn lines_that_can_not_be_written_are_counted_and_block_nothing() {
        let log = AuditLog::open(Path::new("/dev/full")).unwrap();
        write(&log, &["lost"; 10]);
        assert_eq!((log.take_lost(), log.take_lost()), (10, 0));
    }

    #[test]
    fn a_file_that_can_not_be_opened_is_named() {
        let error = AuditLog::open(Path::new("/no/such/directory/audit")).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/directory/audit: "), "{error}");
    }

    #[test]
    fn a_flush_waits_for_room_in_a_full_queue() {
        let (sender, messages) = sync_channel(1);
        let log = AuditLog { sender, shared: Arc::default() };
        log.sender.send(Message::Line("one\n".to_owned())).unwrap();
        let flush = thread::spawn(move || log.flush(LONG));
        // The flush now finds the queue full, or is about to look at it.
        thread::sleep(2 * FLUSH_RETRY);
        assert!(matches!(messages.recv().unwrap(), Message::Line(_)));
        let Message::Flush(done) = messages.recv().unwrap() else { panic!("not a flush") };
        done.send(()).unwrap();
        assert!(flush.join().unwrap());
    }
}
