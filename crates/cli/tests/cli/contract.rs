//! Runs the HTTP test suite against the command as users start it: `serve` with its flags, on real
//! ports and in real time.

use aurora_discovery_contract_tests::{Needs, Target};
use aurora_discovery_http::{Scopes, key_line};

use crate::command::Service;

aurora_discovery_contract_tests::contract_suite!(serve);

/// The API key that may administer the service.
const ADMIN_KEY: &str = "key-of-an-operator";

async fn serve(needs: Needs) -> Option<Target> {
    if needs.settable_clock {
        return None;
    }
    let max_peers = needs.max_peers.map(|count| format!("--max-peers={count}"));
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    std::fs::write(&keys, key_line("operator", Scopes::parse("admin").unwrap(), ADMIN_KEY)).unwrap();
    let fixed = ["--memory", "--keys", keys.to_str().unwrap()];
    let arguments: Vec<&str> = fixed.into_iter().chain(max_peers.as_deref()).collect();
    let Service { endpoint, running } = Service::start(&arguments);
    let mut target = Target::new(endpoint, running);
    target.admin_key = Some(ADMIN_KEY.to_owned());
    Some(target)
}
