//! The two text formats of metrics, and which of them a scraper asks for.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// Prometheus's format, which all scrapers and the usual tools read.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl TextFormat {
    /// The format for a request with these headers: OpenMetrics only if the client accepts it by
    /// name.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = values.flat_map(|value| value.split(','));
        if types.any(|media_type| media_type.trim().starts_with("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        })
    }

    /// Converts OpenMetrics text, which the library writes, into this format.
    pub(crate) fn convert(self, text: String) -> String {
        match self {
            Self::Prometheus => prometheus(&text),
            Self::OpenMetrics => text,
        }
    }
}

/// Converts OpenMetrics text to the older Prometheus format. In the older format, the description
/// of a counter has the same name as its samples, which ends with `_total`. An info metric becomes
/// a gauge whose name ends with `_info`. The end marker is left out.
fn prometheus(text: &str) -> String {
    let suffixes: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter_map(|(name, kind)| match kind {
            "counter" => Some((name, "_total")),
            "info" => Some((name, "_info")),
            _ => None,
        })
        .collect();
    let mut converted = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        match description(line) {
            Some((keyword, name, rest)) => {
                let suffix = suffixes.get(name).copied().unwrap_or_default();
                let rest = if (keyword, rest) == ("# TYPE ", "info") { "gauge" } else { rest };
                // Writing to a string does not fail.
                let _ = writeln!(converted, "{keyword}{name}{suffix} {rest}");
            }
            None => {
                converted.push_str(line);
                converted.push('\n');
            }
        }
    }
    converted
}

/// The keyword, the name and the text of a line that describes a metric.
fn description(line: &str) -> Option<(&'static str, &str, &str)> {
    ["# HELP ", "# TYPE "].into_iter().find_map(|keyword| {
        let (name, rest) = line.strip_prefix(keyword)?.split_once(' ')?;
        Some((keyword, name, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_returned_only_if_it_is_accepted_by_name() {
        for (accept, format) in [
            (None, TextFormat::Prometheus),
            (Some("*/*"), TextFormat::Prometheus),
            (Some("text/plain;version=0.0.4"), TextFormat::Prometheus),
            (
                Some("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"),
                TextFormat::OpenMetrics,
            ),
        ] {
            let headers = accept.map(|value| (ACCEPT, HeaderValue::from_static(value))).into_iter().collect();
            assert_eq!(TextFormat::accepted(&headers), format, "{accept:?}");
        }
    }

    #[test]
    fn the_older_format_describes_a_metric_by_the_name_of_its_samples() {
        let text = "# HELP a Things\n# TYPE a counter\na_total{x=\"# TYPE b counter\"} 1\n\
                    # HELP b Build\n# TYPE b info\nb_info{v=\"1\"} 1\n# HELP g Level\n# TYPE g gauge\ng 1\n# EOF\n";
        let expected = "# HELP a_total Things\n# TYPE a_total counter\na_total{x=\"# TYPE b counter\"} 1\n\
                        # HELP b_info Build\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n# HELP g Level\n# TYPE g gauge\ng 1\n";
        assert_eq!(TextFormat::Prometheus.convert(text.to_owned()), expected);
        assert_eq!(TextFormat::OpenMetrics.convert(text.to_owned()), text);
    }
}
