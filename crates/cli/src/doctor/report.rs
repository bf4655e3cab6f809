//! Prints findings: each as a line at once, or all as a line of JSON at the end.

use serde::Serialize;

use super::finding::{Finding, Verdict};
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};

/// All findings of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    endpoint: String,
    /// False if there is a problem that must be fixed.
    healthy: bool,
    findings: Vec<Finding>,
    #[serde(skip)]
    json: bool,
}

impl Report {
    pub(crate) fn new(endpoint: String, json: bool) -> Self {
        Self { endpoint, healthy: true, findings: Vec::new(), json }
    }

    /// Adds findings, and prints them unless JSON was requested.
    pub(crate) fn add(&mut self, findings: Vec<Finding>) -> Result<(), Failure> {
        for finding in findings {
            self.healthy &= finding.verdict < Verdict::Fail;
            if !self.json {
                let name = finding.verdict.name();
                print(format_args!("{name:<5} {:<9} {}", finding.check, escape(&finding.message)))?;
                if let Some(fix) = &finding.fix {
                    print(format_args!("{:<15} fix: {}", "", escape(fix)))?;
                }
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Ends the report. Fails if a problem must be fixed.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        if self.json {
            print_json(&self)?;
        }
        if self.healthy { Ok(()) } else { Err(Failure::AlreadyReported) }
    }
}
