//! How findings are told: line by line as they come, or as one line of JSON at the end.

use serde::Serialize;

use super::finding::{Finding, Verdict};
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};

/// All findings of one examination.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    endpoint: String,
    /// Whether nothing must be mended.
    healthy: bool,
    findings: Vec<Finding>,
    #[serde(skip)]
    json: bool,
}

impl Report {
    pub(crate) fn new(endpoint: String, json: bool) -> Self {
        Self { endpoint, healthy: true, findings: Vec::new(), json }
    }

    /// Takes findings in, and tells them unless JSON follows at the end.
    pub(crate) fn add(&mut self, findings: Vec<Finding>) -> Result<(), Failure> {
        for finding in findings {
            self.healthy &= finding.verdict < Verdict::Fail;
            if !self.json {
                let name = finding.verdict.name();
                print(format_args!("{name:<5} {:<9} {}", finding.check, escape(&finding.says)))?;
                if let Some(fix) = &finding.fix {
                    print(format_args!("{:<15} fix: {}", "", escape(fix)))?;
                }
            }
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Ends the report; fails if something must be mended.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        if self.json {
            print_json(&self)?;
        }
        if self.healthy { Ok(()) } else { Err(Failure::Said) }
    }
}
