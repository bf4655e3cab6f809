//! Figures of the process, under the names that Prometheus's own client libraries use.
//!
//! Most of them are read from `/proc`, which only Linux has in this form. On other systems, these
//! figures are left out, and only the others are reported.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

/// The unit of times in `/proc/PID/stat`. The kernel's interface fixes it to this value on all
/// architectures that Rust's standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;
const BYTES_PER_KIB: u64 = 1024;

/// The figures at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ProcessFigures {
    started: SystemTime,
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl ProcessFigures {
    /// The figures now, of a process that started at `started`.
    pub(crate) fn read(started: SystemTime) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            started,
            cpu_seconds: fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat)),
            resident_bytes: bytes(&status, "VmRSS:"),
            virtual_bytes: bytes(&status, "VmSize:"),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(seconds) = self.cpu_seconds {
            let help = "Total user and system CPU time spent in seconds";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        let since_epoch = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory size in bytes", self.resident_bytes),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes", self.virtual_bytes),
            ("process_open_fds", "Number of open file descriptors", self.open_fds),
            ("process_max_fds", "Maximum number of open file descriptors", self.max_fds),
            (
                "process_start_time_seconds",
                "Start time of the process since the Unix epoch in seconds",
                Some(since_epoch.as_secs()),
            ),
        ] {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}

/// The processor time in the text of `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the name of the program, in parentheses, and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().ok());
    let ticks = ticks.collect::<Option<Vec<_>>>().filter(|ticks| ticks.len() == 2)?;
    Some(ticks.into_iter().sum::<u64>() as f64 / TICKS_PER_SECOND)
}

/// A size in the text of `/proc/PID/status`.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * BYTES_PER_KIB)
}

fn open_fds() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of the descriptors is that of the directory which this function reads.
    u64::try_from(count.saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parentheses_in_a_program_name_do_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 100 4096 8";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }

    #[test]
    fn sizes_are_read_in_bytes() {
        assert_eq!(bytes("Name:\ta\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288));
        assert_eq!(bytes("Name:\ta\n", "VmRSS:"), None);
    }
}
