//! Checks the server when a store is opened.

use std::collections::HashMap;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use crate::failure::OpenError;
use crate::keys::Keys;
use crate::options::ValkeyOptions;

/// The version of the layout of the keys. A release that changes the layout increments it.
const LAYOUT: &str = "1";
const LAYOUT_FIELD: &str = "layout";
const SECRET_FIELD: &str = "secret";

/// The settings of the server on which durability depends.
const MAX_MEMORY_POLICY: &str = "maxmemory-policy";
const APPEND_ONLY: &str = "appendonly";
const APPEND_FSYNC: &str = "appendfsync";

/// Refuses a server that could lose acknowledged registrations, or that would take up to a second
/// to confirm them. With weak durability, refuses only a server that deletes keys when its memory
/// is full. Settings that the server does not reveal are not checked.
pub(crate) async fn check_server(
    connection: &mut MultiplexedConnection,
    options: &ValkeyOptions,
) -> Result<(), OpenError> {
    let known: redis::Value =
        redis::cmd("COMMAND").arg("INFO").arg("WAITAOF").query_async(connection).await?;
    // A server without the command responds with a list that contains null.
    let has_waitaof = matches!(&known, redis::Value::Array(list) if !matches!(list.first(), None | Some(redis::Value::Nil)));
    let settings = match settings(connection).await {
        Ok(settings) => settings,
        Err(error) => {
            tracing::warn!(cause = %error, "the server's settings can't be read, so they are not checked");
            HashMap::new()
        }
    };
    let problems = problems(has_waitaof, &settings, options.weak_durability);
    match problems.first() {
        None => Ok(()),
        Some(problem) => Err(OpenError(problem.clone())),
    }
}

/// Runs the commands that read peers, the log and the time outside a script. The error for a
/// command that the user may not run names the command.
pub(crate) async fn check_permissions(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<(), OpenError> {
    let mut reads = redis::pipe();
    reads.cmd("TIME").ignore();
    reads.cmd("HSCAN").arg(&keys.leases).arg(0).ignore();
    reads.cmd("HGET").arg(&keys.leases).arg("").ignore();
    reads.cmd("HMGET").arg(&keys.peers).arg("").ignore();
    reads.cmd("XREVRANGE").arg(&keys.log).arg("+").arg("-").arg("COUNT").arg(1).ignore();
    reads.cmd("XRANGE").arg(&keys.log).arg("-").arg("+").arg("COUNT").arg(1).ignore();
    reads.cmd("XREAD").arg("STREAMS").arg(&keys.log).arg("$").ignore();
    reads.cmd("GET").arg(&keys.head).ignore();
    let () = reads.query_async(connection).await?;
    Ok(())
}

async fn settings(connection: &mut MultiplexedConnection) -> RedisResult<HashMap<String, String>> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg(MAX_MEMORY_POLICY).arg(APPEND_ONLY).arg(APPEND_FSYNC);
    command.query_async(connection).await
}

/// The problems of a server, the most important first. A setting that is not in `settings` is not
/// checked.
fn problems(has_waitaof: bool, settings: &HashMap<String, String>, weak_durability: bool) -> Vec<String> {
    let is_not = |name: &str, value: &str| settings.get(name).filter(|set| *set != value);
    let mut problems = Vec::new();
    if let Some(policy) = is_not(MAX_MEMORY_POLICY, "noeviction") {
        problems.push(format!(
            "Valkey would delete peers when its memory is full (maxmemory-policy {policy}): set \
             maxmemory-policy noeviction"
        ));
    }
    if weak_durability {
        return problems;
    }
    let otherwise = "or accept with --valkey-weak-durability that a crash of the server loses registrations";
    if !has_waitaof {
        problems.push(format!(
            "the server can't confirm that a registration is on disk, because it has no WAITAOF: use Valkey, or \
             Redis 7.2 or newer, {otherwise}"
        ));
    }
    if is_not(APPEND_ONLY, "yes").is_some() {
        problems
            .push(format!("Valkey keeps nothing on disk (appendonly no): set appendonly yes, {otherwise}"));
    }
    if let Some(policy) = is_not(APPEND_FSYNC, "always") {
        problems.push(format!(
            "Valkey confirms a registration only after up to a second (appendfsync {policy}): set appendfsync \
             always, {otherwise}"
        ));
    }
    problems
}

/// Checks the version of the layout. If the registry is new, writes the version and a secret first.
/// Returns the secret of the registry, which all its processes share.
pub(crate) async fn check_layout(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<[u8; 32], OpenError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| OpenError(format!("the operating system returned no random bytes: {error}")))?;
    // HSETNX keeps a value that is there already. If several processes start at the same time, the
    // first one creates the secret, and all of them read that one.
    let mut pipeline = redis::pipe();
    pipeline.cmd("HSETNX").arg(&keys.meta).arg(LAYOUT_FIELD).arg(LAYOUT).ignore();
    pipeline.cmd("HSETNX").arg(&keys.meta).arg(SECRET_FIELD).arg(&secret[..]).ignore();
    pipeline.cmd("HMGET").arg(&keys.meta).arg(LAYOUT_FIELD).arg(SECRET_FIELD);
    let ((layout, secret),): ((Option<String>, Option<Vec<u8>>),) = pipeline.query_async(connection).await?;
    if layout.as_deref() != Some(LAYOUT) {
        let found = layout.unwrap_or_default();
        return Err(OpenError(format!(
            "the registry in Valkey has layout {found}, which this release does not know: use a newer release"
        )));
    }
    let secret = secret.and_then(|secret| <[u8; 32]>::try_from(secret).ok());
    secret.ok_or_else(|| OpenError(format!("the secret in {} does not have 32 bytes", keys.meta)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(policy: &str, append_only: &str, fsync: &str) -> HashMap<String, String> {
        [(MAX_MEMORY_POLICY, policy), (APPEND_ONLY, append_only), (APPEND_FSYNC, fsync)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn a_server_that_loses_or_deletes_registrations_is_refused() {
        let good = settings("noeviction", "yes", "always");
        assert!(problems(true, &good, false).is_empty());
        assert!(problems(true, &HashMap::new(), false).is_empty(), "not known");
        let first = |has_waitaof, settings, weak| problems(has_waitaof, &settings, weak).swap_remove(0);
        assert!(first(false, good, false).contains("Redis 7.2"));
        assert!(first(true, settings("allkeys-lru", "yes", "always"), true).contains("noeviction"));
        assert!(first(true, settings("noeviction", "no", "always"), false).contains("appendonly yes"));
        assert!(first(true, settings("noeviction", "yes", "everysec"), false).contains("appendfsync always"));
        assert!(problems(false, &settings("noeviction", "no", "no"), true).is_empty());
    }
}
