//! Warnings about environment variables that begin with `AURORA_` but are not settings.

use std::collections::BTreeSet;
use std::env;

use clap::Command;

/// The start of every setting's variable.
const PREFIX: &str = "AURORA_";
/// The end of a variable's name by which variables of Kubernetes are recognised. For each service
/// of the namespace, Kubernetes gives every pod several variables. For a service called
/// `aurora-discovery`, the first of them is `AURORA_DISCOVERY_SERVICE_HOST`.
const SERVICE_LINK: &str = "_SERVICE_HOST";

/// A warning for each variable that begins with `AURORA_` and that `command` and its subcommands do
/// not read, except for empty variables and those that Kubernetes sets. Each warning names the most
/// similar setting.
pub fn unknown_variables(command: &Command) -> Vec<String> {
    let set = env::vars_os().filter(|(_, value)| !value.is_empty());
    warnings(&variables(command), set.filter_map(|(name, _)| name.into_string().ok()).collect())
}

/// The variables that a command and its subcommands read.
fn variables(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

fn warnings(known: &BTreeSet<String>, set: BTreeSet<String>) -> Vec<String> {
    let links: Vec<String> =
        set.iter().filter_map(|name| name.strip_suffix(SERVICE_LINK)).map(str::to_owned).collect();
    let is_link = |name: &str| {
        links
            .iter()
            .filter_map(|link| name.strip_prefix(link.as_str()))
            .any(|rest| rest.starts_with("_SERVICE_") || rest.starts_with("_PORT"))
    };
    let unknown =
        set.into_iter().filter(|name| name.starts_with(PREFIX) && !known.contains(name) && !is_link(name));
    unknown
        .map(|name| match nearest(&name, known) {
            Some(nearest) => {
                format!("{name} is not a setting and is ignored; the most similar setting is {nearest}")
            }
            None => format!("{name} is not a setting and is ignored"),
        })
        .collect()
}

/// The known variable whose name is most similar.
fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    // With the common prefix, all names would count as similar.
    let bare = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let similarity = |known: &str| strsim::jaro_winkler(&bare(known), &bare(name));
    known.iter().map(String::as_str).max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RegistryArgs, ServerArgs};
    use clap::Args as _;

    fn warnings_for(set: &[&str]) -> Vec<String> {
        let command = ServerArgs::augment_args(RegistryArgs::augment_args(Command::new("settings")));
        let command = Command::new("parent").subcommand(command);
        warnings(&variables(&command), set.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_misspelt_variable_is_reported_with_the_most_similar_setting() {
        for (misspelt, setting) in [
            ("AURORA_TTL_MXA", "AURORA_TTL_MAX"),
            ("AURORA_LISTN", "AURORA_LISTEN"),
            ("AURORA_PEER_TTL_MINUTE", "AURORA_PEER_TTL_MINUTES"),
            ("AURORA_MAX_PEER_PER_SOURCE", "AURORA_MAX_PEERS_PER_SOURCE"),
            ("AURORA_TRUSTED_HOP", "AURORA_TRUSTED_HOPS"),
        ] {
            let expected =
                format!("{misspelt} is not a setting and is ignored; the most similar setting is {setting}");
            assert_eq!(warnings_for(&[misspelt, "AURORA_LISTEN", "PATH"]), [expected]);
        }
    }

    #[test]
    fn the_variables_that_kubernetes_sets_for_a_service_are_not_settings() {
        let links = [
            "AURORA_DISCOVERY_SERVICE_HOST",
            "AURORA_DISCOVERY_SERVICE_PORT",
            "AURORA_DISCOVERY_SERVICE_PORT_HTTP",
            "AURORA_DISCOVERY_PORT",
            "AURORA_DISCOVERY_PORT_8080_TCP",
            "AURORA_DISCOVERY_PORT_8080_TCP_ADDR",
        ];
        assert_eq!(warnings_for(&links), [""; 0]);
        assert_eq!(warnings_for(&links[3..4]).len(), 1);
    }
}
