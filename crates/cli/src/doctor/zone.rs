//! Checks whether the local time zone is UTC. Legacy clients compare the service's UTC times with
//! the local time.

use std::env;
use std::fs;
use std::path::Path;

use super::finding::Finding;

const CHECK: &str = "zone";
/// The system's time zone: a link to the data of a zone, or a copy of it.
const LOCAL_TIME: &str = "/etc/localtime";
/// The names of UTC in the time zone database and in POSIX `TZ` rules.
const UTC: [&str; 10] =
    ["", "UTC", "UTC0", "UCT", "GMT", "GMT0", "Etc/UTC", "Etc/UCT", "Etc/GMT", "Universal"];

/// Reports the time zone of this machine if it is not UTC. Returns no finding if the zone is UTC or
/// unknown.
pub(crate) fn examine() -> Vec<Finding> {
    let of_process = env::var_os("TZ").map(|zone| zone.to_string_lossy().trim_start_matches(':').to_owned());
    judge(of_process.or_else(|| of_system(Path::new(LOCAL_TIME)))).into_iter().collect()
}

fn judge(zone: Option<String>) -> Option<Finding> {
    let zone = zone.filter(|zone| !UTC.contains(&name(zone)))?;
    Some(Finding::warn(
        CHECK,
        format!(
            "this machine's time zone is {}: legacy clients subtract the service's UTC times from local \
             time, so that east of UTC they ignore every peer, and west of it they never find one too old",
            name(&zone)
        ),
        "start legacy clients with the environment variable TZ=UTC, in each container and on each machine",
    ))
}

/// The name of a time zone. `zone` is the name itself, or the path of the zone's file.
fn name(zone: &str) -> &str {
    zone.split_once("/zoneinfo/").map_or(zone, |(_, name)| name)
}

fn of_system(local_time: &Path) -> Option<String> {
    match fs::read_link(local_time) {
        Ok(target) => Some(target.to_string_lossy().into_owned()),
        // The last line of a zone's data is its current rule (RFC 9636).
        Err(_) => {
            let data = fs::read(local_time).ok()?;
            let rule = data.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
            Some(std::str::from_utf8(rule).ok()?.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zones_other_than_utc_are_reported_with_the_remedy() {
        for utc in ["", "UTC", "UTC0", "Etc/UTC", "/usr/share/zoneinfo/Etc/UTC"] {
            assert_eq!(judge(Some(utc.to_owned())), None, "{utc}");
        }
        assert_eq!(judge(None), None);
        for (zone, name) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ] {
            let finding = judge(Some(zone.to_owned())).unwrap();
            assert!(finding.message.contains(&format!("zone is {name}:")), "{}", finding.message);
            assert!(finding.fix.unwrap().contains("TZ=UTC"));
        }
    }

    #[test]
    fn the_zone_of_the_system_is_the_target_of_a_link_or_the_rule_at_the_end_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        assert_eq!(of_system(&file), None);
        fs::write(&file, b"TZif2\0\xff\0\nCET-1CEST,M3.5.0,M10.5.0/3\n").unwrap();
        assert_eq!(of_system(&file).as_deref(), Some("CET-1CEST,M3.5.0,M10.5.0/3"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Europe/Berlin", &link).unwrap();
        assert_eq!(of_system(&link).as_deref(), Some("/usr/share/zoneinfo/Europe/Berlin"));
    }
}
