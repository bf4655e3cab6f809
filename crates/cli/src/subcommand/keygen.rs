//! `keygen`.

use std::path::PathBuf;

use aurora_discovery_client::{ApiKeyFile, KeyFile};
use aurora_discovery_http::{InvalidScopes, Scopes, key_line};
use clap::Args;

use crate::failure::Failure;
use crate::output::print;

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// The file to create, with mode 0600. It must not exist.
    pub(crate) path: PathBuf,
    /// Make an API key with these scopes instead (read, write, admin; with commas between), and
    /// print the line for the file of `serve --keys`.
    #[arg(long, value_name = "SCOPES", value_parser = scopes)]
    pub(crate) scopes: Option<Scopes>,
    /// The name of the API key in logs [default: the name of the file]
    #[arg(long, value_name = "NAME", requires = "scopes", value_parser = name)]
    pub(crate) name: Option<String>,
}

/// Makes a private key, and prints its public key, which can be used as a peer's id. Or makes an
/// API key, and prints its line in the list of keys.
pub(crate) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let Some(scopes) = args.scopes else {
        return print(KeyFile::new(&args.path).create()?.public());
    };
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let stem = args.path.file_stem().unwrap_or_default().to_string_lossy();
            name(&stem).map_err(|rule| Failure::flag("--name", rule))?
        }
    };
    let key = ApiKeyFile::new(&args.path).create()?;
    print(key_line(&name, scopes, key.as_str()))
}

fn scopes(text: &str) -> Result<Scopes, InvalidScopes> {
    Scopes::parse(text)
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_word = |byte: u8| byte.is_ascii_graphic() && !b"#;".contains(&byte);
    match text.bytes().all(is_word) && (1..=64).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 64 visible ASCII characters, without # and ;"),
    }
}
