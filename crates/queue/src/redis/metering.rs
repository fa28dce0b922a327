//! Implements [`Metering`]. `submit.rs` charges, and the steps that end tasks settle (`scripts/lib/settle.lua`).

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::future::join_all;
use protocol::{Day, KeyId, ModelId, TenantId, UsageCounts, UsageRow};
use redis::cmd;

use super::RedisBroker;
use super::charge;
use super::partition::Partition;
use super::partitions::all;
use super::reply::Reply;
use crate::{BrokerError, Meter, Metering, Reading, UsageQuery, stored};

/// The number of days per call for one owner, whose rows are few.
const DAYS_OF_ONE: usize = 64;

#[async_trait]
impl Metering for RedisBroker {
    async fn readings(
        &self,
        owner: &TenantId,
        meters: &[Meter],
    ) -> Result<Vec<Reading>, BrokerError> {
        let Partition { keys, link, scripts, .. } = &**self.partitions.of_tenant(owner).await?;
        let mut call = scripts.readings.prepare_invoke();
        call.key(keys.base()).arg(owner.as_str()).arg(charge::of_reading(meters));
        let said = link.run(&call).await?;
        let mut reply = Reply::words("readings", said.first().map_or("", String::as_str));
        let now = reply.instant()?;
        charge::readings(&mut reply, meters, now)
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, BrokerError> {
        let days = stored::day(&query.from)?..=stored::day(&query.to)?;
        let owner = query.owner.as_ref();
        let asked = self.partitions.all().await?.iter().map(|part| part.usage(&days, owner));
        let mut sums = BTreeMap::<_, UsageCounts>::new();
        for (row, counts) in all(join_all(asked).await)?.into_iter().flatten() {
            sums.entry(row).or_default().add(&counts);
        }
        let row = |((day, owner, key, model), counts): (Row, _)| UsageRow {
            day: day.to_string(),
            owner: TenantId::new(owner),
            key: KeyId::from_text(key),
            model: ModelId::new(model),
            counts,
        };
        Ok(sums.into_iter().map(row).collect())
    }

    async fn forget_usage(&self, day: &str) -> Result<(), BrokerError> {
        let day = stored::day(day)?;
        let asked = self.partitions.all().await?.iter().map(|part| part.forget_usage(day));
        all(join_all(asked).await).map(drop)
    }
}

/// Day, owner, key and model.
type Row = (Day, String, String, String);

impl Partition {
    async fn usage(
        &self,
        days: &std::ops::RangeInclusive<Day>,
        owner: Option<&TenantId>,
    ) -> Result<Vec<(Row, UsageCounts)>, BrokerError> {
        let stored: Vec<u32> = self.link.query(cmd("SMEMBERS").arg(self.keys.usage_days())).await?;
        let mut wanted: Vec<_> = stored.into_iter().map(Day::from_number).collect();
        wanted.retain(|day| days.contains(day));
        let mut rows = Vec::new();
        for some in wanted.chunks(if owner.is_some() { DAYS_OF_ONE } else { 1 }) {
            let mut call = self.scripts.usage.prepare_invoke();
            call.key(self.keys.base()).arg(owner.map_or("", TenantId::as_str));
            for day in some {
                call.arg(day.number());
            }
            let mut reply = Reply::new("usage", self.link.run(&call).await?);
            while !reply.is_read() {
                let (day, owner) = (Day::from_number(reply.parse()?), reply.text()?);
                let (key, model) = reply.pair()?;
                rows.push(((day, owner, key, model), counts(&reply.text()?)?));
            }
        }
        Ok(rows)
    }

    async fn forget_usage(&self, before: Day) -> Result<(), BrokerError> {
        let mut call = self.scripts.forget_usage.prepare_invoke();
        call.key(self.keys.base()).arg(before.number());
        self.link.run(&call).await.map(drop)
    }
}

/// Parses the counts of a row, in the order of `scripts/lib/settle.lua`.
fn counts(text: &str) -> Result<UsageCounts, BrokerError> {
    let mut reply = Reply::words("usage", text);
    Ok(UsageCounts {
        requests: reply.count()?,
        errors: reply.count()?,
        cancelled: reply.count()?,
        prompt_tokens: reply.count()?,
        cached_tokens: reply.count()?,
        completion_tokens: reply.count()?,
        images: reply.count()?,
        wait_ms: reply.count()?,
        compute_ms: reply.count()?,
    })
}
