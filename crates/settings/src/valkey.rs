//! The Valkey server that holds the peers.

use std::path::PathBuf;

use clap::Args;

/// Where the server is, and what it has to confirm.
#[derive(Clone, Debug, Args)]
pub struct ValkeyArgs {
    /// The Valkey or Redis server that holds the peers: `redis://`, or `rediss://` with TLS, then
    /// `[user[:password]@]host[:port][/database]`; or `redis+sentinel://host,host,host/service`.
    #[arg(long, env = "AURORA_VALKEY_URL", value_name = "URL", hide_env_values = true)]
    pub valkey_url: Option<String>,
    /// The file with the password, if it is not in the URL.
    #[arg(long, env = "AURORA_VALKEY_PASSWORD_FILE", value_name = "FILE")]
    pub valkey_password_file: Option<PathBuf>,
    /// The file with the certificates of the authorities (PEM) that are trusted with TLS, instead
    /// of those that the system trusts.
    #[arg(long, env = "AURORA_VALKEY_CA_FILE", value_name = "FILE")]
    pub valkey_ca_file: Option<PathBuf>,
    /// The name of the registry on the server, which may hold several.
    #[arg(long, env = "AURORA_VALKEY_NAME", default_value = "default", value_name = "NAME")]
    pub valkey_name: String,
    /// The number of replicas that must confirm that a registration is on their disks, in addition
    /// to the primary, before it is acknowledged. With weak durability, they confirm that they have
    /// received it.
    #[arg(long, env = "AURORA_VALKEY_REPLICAS", default_value_t = 0, value_name = "COUNT")]
    pub valkey_replicas: u32,
    /// Accept a server that can't confirm that a registration is on disk; a crash of the server may
    /// then lose acknowledged registrations.
    #[arg(long, env = "AURORA_VALKEY_WEAK_DURABILITY")]
    pub valkey_weak_durability: bool,
}

#[cfg(feature = "valkey")]
impl ValkeyArgs {
    /// The options of the store.
    ///
    /// # Errors
    ///
    /// No server is given, the file with the password or the file with the certificates can't be
    /// read, or the password is not UTF-8. The error names the setting to change.
    pub fn options(
        &self,
        sources: &crate::Sources,
    ) -> Result<aurora_discovery_valkey::ValkeyOptions, crate::SettingError> {
        let Some(url) = &self.valkey_url else {
            let name = sources.name("valkey_url");
            return Err(crate::SettingError::new(format!(
                "{name} must name the Valkey server that holds the peers"
            )));
        };
        let mut options = aurora_discovery_valkey::ValkeyOptions::new(url);
        let read = |file: &Option<PathBuf>, setting| {
            let Some(file) = file else { return Ok(None) };
            let unreadable = |error| {
                let name = sources.name(setting);
                crate::SettingError::new(format!("{name}: {} can't be read: {error}", file.display()))
            };
            std::fs::read(file).map(Some).map_err(unreadable)
        };
        if let Some(password) = read(&self.valkey_password_file, "valkey_password_file")? {
            let password = String::from_utf8(password).map_err(|_| {
                let name = sources.name("valkey_password_file");
                crate::SettingError::new(format!("{name}: the password is not text"))
            })?;
            // Editors end the last line with a line feed, which is not part of the password.
            options.password = Some(password.trim_end_matches(['\r', '\n']).to_owned());
        }
        options.ca_certificates = read(&self.valkey_ca_file, "valkey_ca_file")?;
        options.name.clone_from(&self.valkey_name);
        options.replicas = self.valkey_replicas;
        options.weak_durability = self.valkey_weak_durability;
        Ok(options)
    }
}

#[cfg(all(test, feature = "valkey"))]
mod tests {
    use super::*;
    use crate::parse;

    fn options(arguments: &[&str]) -> Result<aurora_discovery_valkey::ValkeyOptions, String> {
        let (valkey, sources) = parse::<ValkeyArgs>(arguments).map_err(|error| error.to_string())?;
        valkey.options(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_must_be_named() {
        let missing = options(&[]).unwrap_err();
        assert!(missing.contains("AURORA_VALKEY_URL must name the Valkey server"), "{missing}");
        let default = options(&["--valkey-url=redis://host"]).unwrap();
        assert_eq!(default, aurora_discovery_valkey::ValkeyOptions::new("redis://host"));
    }

    #[test]
    fn every_setting_sets_its_option_and_the_password_is_a_line_of_a_file() {
        let file = std::env::temp_dir().join(format!("aurora-password-{}", std::process::id()));
        std::fs::write(&file, "secret\n").unwrap();
        let set = options(&[
            "--valkey-url=valkeys://host",
            &format!("--valkey-password-file={}", file.display()),
            &format!("--valkey-ca-file={}", file.display()),
            "--valkey-name=dev",
            "--valkey-replicas=1",
            "--valkey-weak-durability",
        ]);
        std::fs::remove_file(&file).unwrap();
        let set = set.unwrap();
        assert_eq!((set.url.as_str(), set.password.as_deref()), ("valkeys://host", Some("secret")));
        assert_eq!((set.name.as_str(), set.replicas, set.weak_durability), ("dev", 1, true));
        assert_eq!(set.ca_certificates.as_deref(), Some(&b"secret\n"[..]));
        for setting in ["--valkey-password-file", "--valkey-ca-file"] {
            let unreadable =
                options(&["--valkey-url=redis://host", &format!("{setting}=/no/file")]).unwrap_err();
            assert!(unreadable.contains(&format!("{setting}: /no/file can't be read")), "{unreadable}");
        }
    }
}
