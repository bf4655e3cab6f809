//! Files that only their owner may read.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The text of a small file, or `None` if it does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    // Keys and tokens are shorter than this. The limit matters if the path names another file, such
    // as `/dev/zero`, which has no end.
    const MAX_BYTES: u64 = 1_024;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Replaces a file. When the call returns, the text survives a crash of the program and, on Unix, a
/// loss of power. On other systems, a loss of power may bring the old text back. A reader sees the
/// old text or the new one, never a part.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = new_path(path);
    let replaced =
        create(&new, text).and_then(|()| fs::rename(&new, path)).and_then(|()| sync_directory(path));
    replaced.inspect_err(|_| {
        // Removes the temporary file. If that fails too, the next attempt removes it, and the
        // caller gets the first error.
        let _ = fs::remove_file(&new);
    })
}

/// Creates a file that does not exist yet, durably and as a whole.
pub(crate) fn create_new(path: &Path, text: &str) -> io::Result<()> {
    let new = new_path(path);
    // Creating a link fails if the path exists, while a rename would replace the file there.
    let created = create(&new, text).and_then(|()| fs::hard_link(&new, path));
    let removed = fs::remove_file(&new);
    created.and(removed).and_then(|()| sync_directory(path))
}

/// Checks that a file can be written, without changing it.
pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
    let new = new_path(path);
    // A rename cannot replace a directory.
    let result = if path.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) };
    result.and_then(|()| create(&new, "")).and_then(|()| fs::remove_file(&new))
}

/// The temporary file, which is renamed when it is complete. It is in the same directory, because a
/// rename is atomic only within a file system.
fn new_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".new");
    path.with_file_name(name)
}

/// Creates and syncs a file. With the option `create_new`, opening fails if the path exists. The
/// text can therefore not end up in a file, or behind a link, that another user has prepared.
fn create(path: &Path, text: &str) -> io::Result<()> {
    // An earlier crash may have left the file behind.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Makes a rename within the directory of `path` survive a loss of power.
fn sync_directory(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        // Other systems cannot open a directory as a file.
        return Ok(());
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
