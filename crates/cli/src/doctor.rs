//! `doctor`: checks a service the way peers and browsers use it, and describes how to fix each
//! problem.

mod address;
mod args;
mod clock;
mod cors;
mod expiry;
mod finding;
mod latency;
mod lease;
mod reach;
mod report;
mod test_peer;
mod zone;

use aurora_discovery_client::{Client, Probe};

pub(crate) use args::DoctorArgs;
use finding::Finding;
use report::Report;
use test_peer::TestPeer;

use crate::failure::Failure;

/// Checks the service and prints the findings. Fails if a problem must be fixed.
pub(crate) async fn run(args: DoctorArgs) -> Result<(), Failure> {
    if args.connect.endpoints.len() > 1 {
        return Err(Failure::flag("--endpoint", "must name one URL: each is checked by itself"));
    }
    let client = args.connect.client()?;
    let mut report = Report::new(client.endpoint(), args.json);
    let (findings, is_reachable) = reach::examine(&client).await;
    report.add(findings)?;
    if is_reachable {
        // If the service does not know the client's address, most other checks would fail for this
        // one reason.
        match address::unknown_client(&client).await {
            Some(finding) => report.add(vec![finding])?,
            None => examine(&client, &args, &mut report).await?,
        }
    } else {
        let reason = "the other checks need a service that responds";
        report.add(vec![Finding::unchecked("skipped", reason)])?;
    }
    report.finish()
}

async fn examine(client: &Client, args: &DoctorArgs, report: &mut Report) -> Result<(), Failure> {
    report.add(cors::examine(client).await)?;
    report.add(clock::examine(client).await)?;
    report.add(zone::examine())?;
    let mut peer = TestPeer::new();
    report.add(lease::examine(client, &mut peer).await)?;
    report.add(address::examine(client, &mut peer).await)?;
    if let Some(lease_seconds) = args.expiry {
        report.add(expiry::examine(client, &mut peer, lease_seconds).await)?;
    }
    report.add(lease::deregister(client, &peer).await)?;
    report.add(latency::examine(client, args.calls).await)
}

/// Sends one probe. A failure becomes a finding of `check`.
async fn send_probe(
    client: &Client,
    check: &'static str,
    probe: Probe,
) -> Result<aurora_discovery_client::ProbeResponse, Finding> {
    client.probe(probe).await.map_err(|error| {
        let (message, fix) = reach::explain(&error);
        Finding::fail(check, message, fix)
    })
}
