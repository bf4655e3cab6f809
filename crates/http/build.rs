//! Compresses the files of the web page, and writes a list of them that `src/page.rs` includes.
//! Compresses the description of the API. The binary contains these files in compressed form only.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The extensions of the files that browsers load. Other files in the directory, such as
/// `tsconfig.json`, are for developers.
const EXTENSIONS: [&str; 4] = ["css", "html", "js", "svg"];
/// Modules of the JavaScript client that the page does not load: the entry point of the package,
/// the types, and the modules that need a file system or trystero.
const EXCLUDED_MODULES: [&str; 6] =
    ["index.js", "key-file.js", "private-file.js", "token-file.js", "trystero.js", "types.js"];

fn main() -> io::Result<()> {
    // `page/client` is a symbolic link to the modules of the JavaScript client. Cargo follows the
    // link, also when it packages this crate.
    println!("cargo::rerun-if-changed=page");
    println!("cargo::rerun-if-changed=page/client/");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = compress_directory(Path::new("page"), &out, "")?;
    files.extend(compress_directory(Path::new("page/client"), &out, "client/")?);
    files.sort();
    fs::write(out.join("files.rs"), format!("&[{}]", files.concat()))?;
    println!("cargo::rerun-if-changed=openapi.json");
    fs::write(out.join("openapi.json.gz"), gzip(&fs::read("openapi.json")?)?)
}

/// Compresses each file of `source` into the directory `page` of `out`, under `prefix`. Returns,
/// for each file, the Rust expression that describes it in the list of files.
fn compress_directory(source: &Path, out: &Path, prefix: &str) -> io::Result<Vec<String>> {
    fs::create_dir_all(out.join("page").join(prefix))?;
    let mut items = Vec::new();
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        if EXTENSIONS.contains(&extension) && !EXCLUDED_MODULES.contains(&name.as_str()) {
            let target = out.join("page").join(prefix).join(&name).with_added_extension("gz");
            let text = fs::read_to_string(entry.path())?;
            fs::write(&target, gzip(without_comments(&text).as_bytes())?)?;
            items.push(format!("File {{ name: \"{prefix}{name}\", gzip: include_bytes!({target:?}) }}, "));
        }
    }
    Ok(items)
}

/// Returns `text` with an empty line in place of each line that is only a comment. Comments are a
/// quarter of the text, and browsers do not need them. The number of lines stays the same, so that
/// errors in browsers have the line numbers of the source.
///
/// A comment is recognised by the start of its line. No string in the files may therefore have a
/// line that starts like a comment.
fn without_comments(text: &str) -> String {
    let mut is_within = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.lines() {
        let trimmed = line.trim();
        // A type annotation can precede an expression on the same line: `/** @type {T} */ (value)`.
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
