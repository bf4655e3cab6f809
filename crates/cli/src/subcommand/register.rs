//! `register`.

use clap::Args;

use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::peer::PeerArgs;

/// Arguments of `register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// Print the response of the service as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Registers a peer and prints the lease that the service granted.
pub(crate) async fn run(args: RegisterArgs) -> Result<(), Failure> {
    let file = args.peer.token.file();
    let signer = args.peer.key.signer()?;
    let mut registration = args.peer.registration()?;
    if let Some(file) = &file {
        registration.lease_token = file.read()?;
        file.check_writable()?;
    }
    let client = args.connect.client()?;
    let response = match signer {
        None => client.register(&registration).await?,
        Some(signer) => {
            let mut signer = match &registration.lease_token {
                Some(token) => signer.with_token(token.clone()),
                None => signer,
            };
            let mut response = signer.register(&client, &registration).await?;
            response.lease_token.get_or_insert_with(|| signer.token().clone());
            response
        }
    };
    if let (Some(file), Some(token)) = (&file, &response.lease_token) {
        file.write(token)?;
    }
    if args.json {
        return print_json(&response);
    }
    let id = &response.peer_id;
    print(format_args!(
        "{id} is registered until {} UTC ({} s); the service sees it at {}",
        response.ttl_expires,
        response.ttl_seconds.as_secs(),
        escape(&response.observed_address),
    ))?;
    print(format_args!(
        "next heartbeat due within {} s: aurora-discovery heartbeat {id}",
        response.heartbeat_interval_seconds
    ))?;
    let token = match &file {
        Some(file) => format!("is in {}", escape(&file.path().to_string_lossy())),
        None => response.lease_token.as_ref().map(|token| token.as_str().to_owned()).unwrap_or_default(),
    };
    if let Some(key) = response.signed_by {
        print(format_args!("the id is locked to {key}"))?;
    }
    print(format_args!("lease token (needed to change the registration from another address): {token}"))
}
