//! The DynamoDB table that holds the peers.

use clap::Args;

/// Where the table is.
#[derive(Clone, Debug, Args)]
pub struct TableArgs {
    /// The DynamoDB table that holds the peers.
    #[arg(long, env = "AURORA_TABLE", value_name = "NAME")]
    pub table: Option<String>,
    /// The URL of DynamoDB; by default that of AWS in the Region.
    #[arg(long, env = "AURORA_DYNAMODB_ENDPOINT", value_name = "URL")]
    pub dynamodb_endpoint: Option<String>,
}

#[cfg(feature = "dynamodb")]
impl TableArgs {
    /// The options of the store.
    ///
    /// # Errors
    ///
    /// No table is given; the error says how to name one.
    pub fn options(
        &self,
        sources: &crate::Sources,
    ) -> Result<aurora_discovery_dynamodb::DynamoOptions, crate::SettingError> {
        let Some(table) = &self.table else {
            let name = sources.name("table");
            return Err(crate::SettingError::new(format!(
                "{name} must name the DynamoDB table that holds the peers"
            )));
        };
        let mut options = aurora_discovery_dynamodb::DynamoOptions::new(table);
        options.endpoint.clone_from(&self.dynamodb_endpoint);
        Ok(options)
    }
}
