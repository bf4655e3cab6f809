//! Compresses the files of the page, because the binary contains them only in that form, and lists
//! them for `src/page.rs`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The other files in the directory are for developers.
const EXTENSIONS: [&str; 4] = ["css", "html", "js", "svg"];
/// Modules of the JavaScript client that the page does not load: types, what needs a file system, and
/// what needs trystero.
const NOT_OF_THE_PAGE: [&str; 6] =
    ["index.js", "key-file.js", "private-file.js", "token-file.js", "trystero.js", "types.js"];

fn main() -> io::Result<()> {
    // The directory `page/client` is a link to the modules of the JavaScript client. Cargo follows
    // it, also into the package.
    println!("cargo::rerun-if-changed=page");
    println!("cargo::rerun-if-changed=page/client/");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = compress_directory(Path::new("page"), &out, "")?;
    files.extend(compress_directory(Path::new("page/client"), &out, "client/")?);
    files.sort();
    fs::write(out.join("files.rs"), format!("&[{}]", files.concat()))
}

/// Compresses the files of a directory. Returns an item of the list for each.
fn compress_directory(source: &Path, out: &Path, prefix: &str) -> io::Result<Vec<String>> {
    fs::create_dir_all(out.join("page").join(prefix))?;
    let mut items = Vec::new();
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        if EXTENSIONS.contains(&extension) && !NOT_OF_THE_PAGE.contains(&name.as_str()) {
            let target = out.join("page").join(prefix).join(&name).with_added_extension("gz");
            let text = fs::read_to_string(entry.path())?;
            fs::write(&target, gzip(without_comments(&text).as_bytes())?)?;
            items.push(format!("File {{ name: \"{prefix}{name}\", gzip: include_bytes!({target:?}) }}, "));
        }
    }
    Ok(items)
}

/// `text` without the lines that are only comments, which are a quarter of what is sent. They become
/// empty, so that errors keep their line numbers. No text in the files has lines like these.
fn without_comments(text: &str) -> String {
    let mut is_within = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.lines() {
        let trimmed = line.trim();
        // A type may stand before an expression.
        let has_code = trimmed.find("*/").is_some_and(|end| end + 2 < trimmed.len());
        let begins = trimmed.starts_with("/*") && !has_code;
        if !is_within && !begins && !trimmed.starts_with("//") {
            kept.push_str(line);
        }
        is_within = (is_within || begins) && !trimmed.ends_with("*/");
        kept.push('\n');
    }
    kept
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
