//! The price list: one dated table, checked in next to this file, which an operator may replace as
//! a whole.

use std::fs;
use std::path::Path;

use serde::Serialize;
use toml::{Table, Value};

/// The built-in price list as a TOML file. A custom list has the same form.
pub const BUILT_IN: &str = include_str!("prices.toml");
/// The name of the built-in list in errors.
const BUILT_IN_NAME: &str = "the built-in price list";

/// An error about a price list that can't be used. Its message names the list. If a key is missing
/// or unknown, or its value is invalid, the message also names the key and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PriceError(String);

/// AWS's prices in US dollars, and the machines that the bill assumes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// The Region of these prices.
    pub(crate) region: String,
    /// The year and month in which the prices were read.
    pub(crate) as_of: String,
    /// The pages from which the prices were read.
    pub(crate) sources: Vec<String>,
    pub(crate) rest_per_million: f64,
    pub(crate) http_per_million: f64,
    pub(crate) lambda_requests_per_million: f64,
    pub(crate) arm64_per_gb_second: f64,
    pub(crate) x86_64_per_gb_second: f64,
    pub(crate) write_units_per_million: f64,
    pub(crate) read_units_per_million: f64,
    pub(crate) storage_per_gb_month: f64,
    pub(crate) egress_per_gb: f64,
    pub(crate) logs_per_gb: f64,
    pub(crate) log_storage_per_gb_month: f64,
    pub(crate) metric_month: f64,
    pub(crate) alarm_metric_month: f64,
    /// The type of the virtual machine.
    pub(crate) machine_name: String,
    pub(crate) machine_per_hour: f64,
    pub(crate) machine_disk_gb: f64,
    pub(crate) machine_disk_per_gb_month: f64,
    /// A public IPv4 address.
    pub(crate) machine_address_per_hour: f64,
    /// The type of the virtual machines of a large network on Valkey.
    pub(crate) large_machine_name: String,
    pub(crate) large_machine_per_hour: f64,
    /// Traffic between two zones of a Region. AWS bills this price once in each of the two zones.
    pub(crate) between_zones_per_gb: f64,
}

impl Prices {
    /// The built-in list.
    ///
    /// # Errors
    ///
    /// Never: a test checks that the built-in list is valid.
    pub fn built_in() -> Result<Self, PriceError> {
        Self::parse(BUILT_IN, BUILT_IN_NAME)
    }

    /// Reads a list from a file.
    ///
    /// # Errors
    ///
    /// If the file can't be read or is not valid TOML, if a key is missing or unknown, or if a
    /// value is invalid.
    pub fn read(path: &Path) -> Result<Self, PriceError> {
        let name = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|error| PriceError(format!("{name} can't be read: {error}")))?;
        Self::parse(&text, &name)
    }

    fn parse(text: &str, name: &str) -> Result<Self, PriceError> {
        let table = text.parse().map_err(|error| PriceError(format!("{name} is not valid TOML: {error}")))?;
        let mut list = PriceList { name, table };
        let prices = Self {
            region: list.text("region")?,
            as_of: list.text("as_of")?,
            sources: list.strings("sources")?,
            rest_per_million: list.price("api", "rest_per_million")?,
            http_per_million: list.price("api", "http_per_million")?,
            lambda_requests_per_million: list.price("lambda", "requests_per_million")?,
            arm64_per_gb_second: list.price("lambda", "arm64_per_gb_second")?,
            x86_64_per_gb_second: list.price("lambda", "x86_64_per_gb_second")?,
            write_units_per_million: list.price("dynamodb", "write_units_per_million")?,
            read_units_per_million: list.price("dynamodb", "read_units_per_million")?,
            storage_per_gb_month: list.price("dynamodb", "storage_per_gb_month")?,
            egress_per_gb: list.price("egress", "per_gb")?,
            logs_per_gb: list.price("cloudwatch", "logs_per_gb")?,
            log_storage_per_gb_month: list.price("cloudwatch", "log_storage_per_gb_month")?,
            metric_month: list.price("cloudwatch", "metric_month")?,
            alarm_metric_month: list.price("cloudwatch", "alarm_metric_month")?,
            machine_name: list.text("machine")?,
            machine_per_hour: list.price("serve", "machine_per_hour")?,
            machine_disk_gb: list.price("serve", "disk_gb")?,
            machine_disk_per_gb_month: list.price("serve", "disk_per_gb_month")?,
            machine_address_per_hour: list.price("serve", "address_per_hour")?,
            large_machine_name: list.text("large_machine")?,
            large_machine_per_hour: list.price("serve", "large_machine_per_hour")?,
            between_zones_per_gb: list.price("serve", "between_zones_per_gb")?,
        };
        list.expect_no_other_keys()?;
        Ok(prices)
    }
}

/// A file of prices. Reading a value removes its key from the table, so the keys that remain at the
/// end are unknown.
struct PriceList<'a> {
    name: &'a str,
    table: Table,
}

impl PriceList<'_> {
    fn text(&mut self, key: &str) -> Result<String, PriceError> {
        match self.table.remove(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.error(key, "must be a non-empty string")),
        }
    }

    fn strings(&mut self, key: &str) -> Result<Vec<String>, PriceError> {
        let rule = "must be a list of strings that name the sources of the prices";
        let Some(Value::Array(values)) = self.table.remove(key) else { return Err(self.error(key, rule)) };
        values
            .into_iter()
            .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| self.error(key, rule)))
            .collect()
    }

    fn price(&mut self, section: &str, key: &str) -> Result<f64, PriceError> {
        let value =
            self.table.get_mut(section).and_then(Value::as_table_mut).and_then(|table| table.remove(key));
        let price = match value {
            Some(Value::Float(price)) => Some(price),
            // TOML distinguishes `1` from `1.0`; both are prices.
            Some(Value::Integer(price)) => i32::try_from(price).ok().map(f64::from),
            _ => None,
        };
        price.filter(|price| price.is_finite() && *price >= 0.0).ok_or_else(|| {
            self.error(&format!("{section}.{key}"), "must be a price in USD: a number of 0 or more")
        })
    }

    /// Rejects unknown keys, which are most likely misspelt.
    fn expect_no_other_keys(&self) -> Result<(), PriceError> {
        let left = self.table.iter().find_map(|(key, value)| match value {
            // All keys of a section that is empty now have been read.
            Value::Table(section) => section.keys().next().map(|inner| format!("{key}.{inner}")),
            _ => Some(key.clone()),
        });
        left.map_or(Ok(()), |key| Err(self.error(&key, "is not a key of a price list: remove it")))
    }

    fn error(&self, key: &str, rule: &str) -> PriceError {
        PriceError(format!("{}: {key} {rule}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(from: &str, to: &str) -> Result<Prices, PriceError> {
        assert!(BUILT_IN.contains(from), "{from}");
        Prices::parse(&BUILT_IN.replace(from, to), "mine.toml")
    }

    #[test]
    fn the_built_in_list_is_dated_and_names_its_sources() {
        let prices = Prices::built_in().unwrap();
        assert_eq!((prices.region.as_str(), prices.as_of.as_str()), ("us-east-1", "2026-11"));
        assert!(prices.sources.iter().all(|source| source.contains("pricing")), "{:?}", prices.sources);
        assert!((prices.write_units_per_million / prices.read_units_per_million - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_price_may_be_an_integer_or_zero() {
        let free = with("http_per_million = 1.00", "http_per_million = 0").unwrap();
        assert!(free.http_per_million.abs() < f64::EPSILON);
    }

    #[test]
    fn an_error_in_a_price_list_names_the_key_and_the_rule() {
        for (from, to, message) in [
            ("rest_per_million = 3.50", "", "mine.toml: api.rest_per_million must be a price"),
            ("per_gb = 0.09", "per_gb = -1", "egress.per_gb must be a price in USD: a number of 0 or more"),
            ("per_gb = 0.09", "per_gb = nan", "egress.per_gb must be"),
            ("per_gb = 0.09", "per_gb = inf", "egress.per_gb must be"),
            ("per_gb = 0.09", "per_gb = \"0.09\"", "egress.per_gb must be"),
            ("[egress]", "[egres]", "egress.per_gb must be"),
            (
                "metric_month = 0.30",
                "metric_month = 0.30\nmetric_year = 1",
                "cloudwatch.metric_year is not a key",
            ),
            ("as_of = \"2026-11\"", "", "as_of must be a non-empty string"),
            ("region = \"us-east-1\"", "region = \"us-east-1\"\ncurrency = \"EUR\"", "currency is not a key"),
            ("sources = [", "sources = [ 1,", "sources must be a list of strings"),
            ("[api]", "[api", "mine.toml is not valid TOML"),
        ] {
            let error = with(from, to).unwrap_err().to_string();
            assert!(error.contains(message), "{from} -> {to}: {error}");
        }
        let missing = Prices::read(Path::new("no/such/prices.toml")).unwrap_err().to_string();
        assert!(missing.contains("no/such/prices.toml can't be read"), "{missing}");
    }
}
