//! Limits and usage: not built yet.

use async_trait::async_trait;
use protocol::{TenantId, UsageRow};

use super::SqliteBroker;
use crate::{BrokerError, Meter, Metering, Reading, UsageQuery};

#[async_trait]
impl Metering for SqliteBroker {
    async fn readings(&self, _: &TenantId, _: &[Meter]) -> Result<Vec<Reading>, BrokerError> {
        Err(todo())
    }
    async fn usage(&self, _: &UsageQuery) -> Result<Vec<UsageRow>, BrokerError> {
        Err(todo())
    }
    async fn forget_usage(&self, _: &str) -> Result<(), BrokerError> {
        Err(todo())
    }
}

fn todo() -> BrokerError {
    BrokerError::Corrupt("metering is not built yet".to_owned())
}
