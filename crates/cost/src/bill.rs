//! The bill of a month, by part, for each kind of endpoint.

use serde::Serialize;

use crate::prices::Prices;
use crate::workload::{Architecture, MONTH_DAYS, Month, Workload};

pub(crate) const MILLION: f64 = 1e6;
pub(crate) const BYTES_PER_GB: f64 = 1_073_741_824.0;

/// Bytes of the head of a response of `serve`.
pub(crate) const RESPONSE_HEAD_BYTES: f64 = 410.0;
/// The bytes that CloudWatch adds to each line when it bills logs.
const LINE_OVERHEAD_BYTES: f64 = 26.0;
/// Bytes of a line of the API's access log; a test compares it with the template's.
const ACCESS_LINE_BYTES: f64 = 155.0;
/// Bytes of a line of the function's log about a request.
const REQUEST_LINE_BYTES: f64 = 300.0;
/// The function logs one in this many successful requests (`LOG_ONE_IN`).
const REQUESTS_PER_LINE: f64 = 1_000.0;
/// Bytes of the line in which the function logs its counts.
const COUNTS_LINE_BYTES: f64 = 900.0;
/// The function logs its counts after this many requests, and every minute in which there are any.
const REQUESTS_PER_COUNTS_LINE: f64 = 100.0;
const MINUTES_PER_DAY: f64 = 1_440.0;
/// How long logs are kept, in days.
const LOG_DAYS: f64 = 7.0;
/// The number of custom metrics that the function publishes, if they are enabled.
const CUSTOM_METRICS: f64 = 4.0;
/// Metrics that the template's alarms watch: four for the alarm that adds up the throttled requests
/// of the table, and one for each other alarm.
pub(crate) const ALARM_METRICS: f64 = 9.0;

/// The kind of endpoint through which requests arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointKind {
    Rest,
    Http,
    FunctionUrl,
}

impl EndpointKind {
    /// All kinds, in the order of the columns.
    pub(crate) const ALL: [Self; 3] = [Self::Rest, Self::Http, Self::FunctionUrl];

    /// The heading of the column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST API",
            Self::Http => "HTTP API",
            Self::FunctionUrl => "function URL",
        }
    }

    fn per_million(self, prices: &Prices) -> f64 {
        match self {
            Self::Rest => prices.rest_per_million,
            Self::Http => prices.http_per_million,
            Self::FunctionUrl => 0.0,
        }
    }

    /// Bytes of a response's head, including the headers that the endpoint adds.
    pub(crate) fn head_bytes(self) -> f64 {
        match self {
            Self::Rest => 640.0,
            Self::Http => 480.0,
            Self::FunctionUrl => 560.0,
        }
    }

    /// Whether the endpoint logs a line per request; a function URL has no access log.
    fn has_log(self) -> bool {
        self != Self::FunctionUrl
    }
}

/// A month's bill in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Bill {
    pub(crate) api: f64,
    pub(crate) lambda_requests: f64,
    pub(crate) lambda_duration: f64,
    pub(crate) dynamodb_writes: f64,
    pub(crate) dynamodb_reads: f64,
    pub(crate) dynamodb_storage: f64,
    pub(crate) egress: f64,
    pub(crate) logs: f64,
    pub(crate) metrics: f64,
    pub(crate) total: f64,
    /// The additional cost of the template's alarms, which is not in `total`. AWS does not charge
    /// for the first ten alarm metrics of an account.
    pub(crate) alarms: f64,
}

impl Bill {
    /// The cost of `workload` with this kind of endpoint.
    pub(crate) fn of(workload: &Workload, endpoint: EndpointKind, prices: &Prices) -> Self {
        let month = workload.month();
        let per_gb_second = match workload.function.architecture {
            Architecture::Arm64 => prices.arm64_per_gb_second,
            Architecture::X86 => prices.x86_64_per_gb_second,
        };
        let metrics = if workload.custom_metrics { CUSTOM_METRICS } else { 0.0 };
        let logged = logged_gb(&month, endpoint);
        let mut bill = Self {
            api: month.requests / MILLION * endpoint.per_million(prices),
            lambda_requests: month.requests / MILLION * prices.lambda_requests_per_million,
            lambda_duration: month.gb_seconds * per_gb_second,
            dynamodb_writes: month.write_units / MILLION * prices.write_units_per_million,
            dynamodb_reads: month.read_units / MILLION * prices.read_units_per_million,
            dynamodb_storage: month.stored_bytes / BYTES_PER_GB * prices.storage_per_gb_month,
            egress: (month.body_bytes + month.requests * endpoint.head_bytes()) / BYTES_PER_GB
                * prices.egress_per_gb,
            // AWS bills each line when it is written, and then for the days that it is stored.
            logs: logged * (prices.logs_per_gb + prices.log_storage_per_gb_month * LOG_DAYS / MONTH_DAYS),
            metrics: metrics * prices.metric_month,
            total: 0.0,
            alarms: ALARM_METRICS * prices.alarm_metric_month,
        };
        bill.total = bill.parts().iter().map(|(_, dollars)| dollars).sum();
        bill
    }

    /// The named parts of the total.
    pub(crate) fn parts(&self) -> [(&'static str, f64); 9] {
        [
            ("API", self.api),
            ("Lambda requests", self.lambda_requests),
            ("Lambda duration", self.lambda_duration),
            ("DynamoDB writes", self.dynamodb_writes),
            ("DynamoDB reads", self.dynamodb_reads),
            ("DynamoDB storage", self.dynamodb_storage),
            ("egress", self.egress),
            ("logs", self.logs),
            ("metrics", self.metrics),
        ]
    }
}

/// The gigabytes that are logged in a month.
fn logged_gb(month: &Month, endpoint: EndpointKind) -> f64 {
    let access =
        if endpoint.has_log() { month.requests * (ACCESS_LINE_BYTES + LINE_OVERHEAD_BYTES) } else { 0.0 };
    let requests = month.requests / REQUESTS_PER_LINE * (REQUEST_LINE_BYTES + LINE_OVERHEAD_BYTES);
    // The function logs its counts once a minute if there are few requests, and otherwise after
    // every hundred.
    let busy_minutes = (MONTH_DAYS * MINUTES_PER_DAY).min(month.requests);
    let counts = busy_minutes.max(month.requests / REQUESTS_PER_COUNTS_LINE);
    (access + requests + counts * (COUNTS_LINE_BYTES + LINE_OVERHEAD_BYTES)) / BYTES_PER_GB
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::hundred_peers;

    const TEMPLATE: &str = include_str!("../../../Infrastructure/P2P/cloudformation.yaml");

    fn total(workload: &Workload, endpoint: EndpointKind) -> f64 {
        Bill::of(workload, endpoint, &Prices::built_in().unwrap()).total
    }

    #[test]
    fn a_hundred_peers_cost_at_most_the_target() {
        for (heartbeat, included, rest, http) in
            [(60.0, false, 22.60, 9.50), (100.0, true, 12.60, 6.10), (150.0, true, 9.10, 4.60)]
        {
            let workload = hundred_peers(heartbeat, included);
            for (endpoint, most) in [(EndpointKind::Rest, rest), (EndpointKind::Http, http)] {
                let total = total(&workload, endpoint);
                assert!(total <= most, "{heartbeat} s, {}: {total:.2} USD", endpoint.name());
                assert!(
                    total > most * 0.8,
                    "{heartbeat} s, {}: {total:.2} USD is implausibly low",
                    endpoint.name()
                );
            }
        }
    }

    #[test]
    fn each_part_of_the_bill_is_its_count_times_its_price() {
        let prices = Prices::built_in().unwrap();
        let bill = Bill::of(&hundred_peers(60.0, false), EndpointKind::Rest, &prices);
        let cents: Vec<String> = bill.parts().iter().map(|(_, dollars)| format!("{dollars:.3}")).collect();
        // Computed by hand: 5.19 million requests; 6,487.5 GB-seconds; 2.208 million writes; 4.32 +
        // 3.333 + 0.0075 million reads.
        assert_eq!(cents[..5], ["18.165", "1.038", "0.087", "1.380", "0.958"]);
        assert_eq!(cents[8], "0.000");
        assert!((bill.total - bill.parts().iter().map(|(_, dollars)| dollars).sum::<f64>()).abs() < 1e-9);
    }

    #[test]
    fn a_higher_price_raises_the_bill() {
        let prices = Prices::built_in().unwrap();
        let mut workload = hundred_peers(60.0, false);
        workload.custom_metrics = true;
        let plain = Bill::of(&workload, EndpointKind::Rest, &prices);
        let changes: [fn(&mut Prices); 10] = [
            |prices| prices.rest_per_million *= 2.0,
            |prices| prices.lambda_requests_per_million *= 2.0,
            |prices| prices.arm64_per_gb_second *= 2.0,
            |prices| prices.write_units_per_million *= 2.0,
            |prices| prices.read_units_per_million *= 2.0,
            |prices| prices.storage_per_gb_month *= 2.0,
            |prices| prices.egress_per_gb *= 2.0,
            |prices| prices.logs_per_gb *= 2.0,
            |prices| prices.log_storage_per_gb_month *= 2.0,
            |prices| prices.metric_month *= 2.0,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut raised = prices.clone();
            change(&mut raised);
            assert!(Bill::of(&workload, EndpointKind::Rest, &raised).total > plain.total, "{number}");
        }
    }

    #[test]
    fn the_number_of_alarm_metrics_is_that_of_the_template() {
        let alarms = TEMPLATE.matches("Type: AWS::CloudWatch::Alarm").count();
        let in_expressions = TEMPLATE.matches("MetricStat:").count();
        // The alarm that adds up several metrics has no metric of its own.
        let expressions = TEMPLATE.matches(" Expression:").count();
        assert_eq!(format!("{ALARM_METRICS}"), format!("{}", alarms - expressions + in_expressions));
    }

    /// Inserts typical values into the template's formats of the access log.
    #[test]
    fn the_length_of_an_access_log_line_is_that_of_the_template() {
        let formats: Vec<&str> =
            TEMPLATE.lines().map(str::trim).filter(|line| line.starts_with("{\"requestId\"")).collect();
        assert_eq!(formats.len(), 2, "one for REST, one for HTTP");
        for format in formats {
            let line = [
                ("$context.identity.sourceIp", "203.0.113.100"),
                ("$context.requestId", "8d2cbd1f-55bc-4f14-a8ba-0e3bbfb0a5b1"),
                ("$context.httpMethod", "POST"),
                ("$context.resourcePath", "/heartbeat"),
                ("$context.routeKey", "ANY /heartbeat"),
                ("$context.status", "200"),
                ("$context.responseLatency", "12"),
                ("$context.integrationLatency", "10"),
                ("$context.error.responseType", "-"),
            ]
            .iter()
            .fold(format.to_owned(), |line, (variable, value)| line.replace(variable, value));
            assert!(!line.contains("$context"), "{line}");
            let bytes = f64::from(u32::try_from(line.len()).unwrap());
            assert!((ACCESS_LINE_BYTES - bytes).abs() <= 2.0, "{bytes}: {line}");
        }
    }

    #[test]
    fn the_constants_of_the_log_are_those_of_the_function() {
        let settings = include_str!("../../lambda/src/settings.rs");
        assert!(settings.contains("const LOG_ONE_IN: u32 = 1_000;"));
        let metrics = include_str!("../../lambda/src/metrics.rs");
        assert!(metrics.contains("const REQUESTS_PER_LINE: u64 = 100;"));
        assert!(metrics.contains("const METRICS: [&str; 4]"));
    }
}
