//! The thread that writes the audit log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender};

use super::Shared;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Message {
    /// Write this line.
    Line(String),
    /// Only check whether the file is to be opened again.
    Wake,
    /// Report that all earlier lines are written.
    Flush(SyncSender<()>),
}

/// The file, or standard output.
pub(super) struct AuditFile {
    /// `None` for standard output.
    path: Option<PathBuf>,
    out: Box<dyn Write + Send>,
    is_failing: bool,
}

impl AuditFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { path: None, out: Box::new(io::stdout()), is_failing: false });
        }
        Ok(Self { path: Some(path.to_owned()), out: Box::new(append_to(path)?), is_failing: false })
    }

    /// Writes lines until all senders are gone.
    pub(super) fn write_all(mut self, messages: &Receiver<Message>, shared: &Shared) {
        for message in messages {
            if shared.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            match message {
                Message::Line(line) => {
                    let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
                    if self.report(written) {
                        shared.lost.fetch_add(1, Relaxed);
                    }
                }
                Message::Wake => {}
                // This fails if the service no longer waits.
                Message::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append_to(path) {
            Ok(file) => {
                self.out = Box::new(file);
                tracing::info!(path = %path.display(), "opened the audit log again");
            }
            Err(error) => tracing::error!(
                path = %path.display(),
                cause = %error,
                "the audit log can't be opened again; the file that is open stays in use"
            ),
        }
    }

    /// Logs the first of several failures in a row, and the success that ends them. Returns whether
    /// writing failed.
    fn report(&mut self, written: io::Result<()>) -> bool {
        let was_failing = std::mem::replace(&mut self.is_failing, written.is_err());
        match written {
            Err(error) if !was_failing => {
                tracing::error!(cause = %error, "the audit log can't be written; lines are lost");
            }
            Ok(()) if was_failing => tracing::info!("the audit log can be written again"),
            Ok(()) | Err(_) => {}
        }
        self.is_failing
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
