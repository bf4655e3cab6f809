//! Runs the HTTP test suite against the command as users start it: `serve` with its flags, on real
//! ports and in real time.

use aurora_discovery_contract_tests::{Needs, Target};

use crate::command::Service;

aurora_discovery_contract_tests::contract_suite!(serve);

async fn serve(needs: Needs) -> Option<Target> {
    if needs.settable_clock {
        return None;
    }
    let max_peers = needs.max_peers.map(|count| format!("--max-peers={count}"));
    let arguments: Vec<&str> = ["--memory"].into_iter().chain(max_peers.as_deref()).collect();
    let Service { endpoint, running } = Service::start(&arguments);
    Some(Target::new(endpoint, running))
}
