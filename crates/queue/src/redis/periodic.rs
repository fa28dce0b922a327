//! The states of periodic tasks. Those of a tenant are in its partition, and so are their tasks, so that a submit can
//! take a step of one.

use async_trait::async_trait;
use futures::future::join_all;
use protocol::{TenantId, Timestamp, record};
use redis::cmd;

use super::RedisBroker;
use super::partition::Partition;
use super::partitions::all;
use super::reply::Reply;
use crate::{BrokerError, PeriodicId, PeriodicStep, PeriodicTasks, StoredPeriodic};

#[async_trait]
impl PeriodicTasks for RedisBroker {
    async fn periodic_tasks(&self) -> Result<(Timestamp, Vec<StoredPeriodic>), BrokerError> {
        let asked = self.partitions.all().await?.iter().map(|partition| partition.periodic_tasks());
        let parts = all(join_all(asked).await)?;
        // The clocks of a Cluster's nodes may differ: by the slowest one, nothing is due too early.
        let now = parts.iter().map(|(now, _)| *now).min();
        let mut states: Vec<_> = parts.into_iter().flat_map(|(_, states)| states).collect();
        states.sort_by(|one, other| one.id.cmp(&other.id));
        let now = now.ok_or_else(|| BrokerError::Corrupt("there is no partition".into()))?;
        Ok((now, states))
    }

    async fn step_periodic(&self, step: &PeriodicStep) -> Result<bool, BrokerError> {
        let partition = self.partitions.of_tenant(&step.id.owner).await?;
        let mut call = partition.scripts.step_periodic.prepare_invoke();
        call.key(partition.keys.base()).arg(field(&step.id)).arg(step.revision);
        call.arg(record::encode(&step.state)?);
        let mut reply = Reply::new("step_periodic", partition.link.run(&call).await?);
        Ok(reply.text()? == "stepped")
    }

    async fn forget_periodic(&self, id: &PeriodicId) -> Result<(), BrokerError> {
        let partition = self.partitions.of_tenant(&id.owner).await?;
        let delete = cmd("HDEL").arg(partition.keys.periodic()).arg(field(id)).to_owned();
        partition.link.query::<u64>(&delete).await.map(drop)
    }
}

impl Partition {
    /// Returns Redis' time, and the states in this partition.
    async fn periodic_tasks(&self) -> Result<(Timestamp, Vec<StoredPeriodic>), BrokerError> {
        let mut call = self.scripts.periodic_tasks.prepare_invoke();
        call.key(self.keys.base());
        let mut reply = Reply::new("periodic_tasks", self.link.run(&call).await?);
        let now = reply.instant()?;
        let mut states = Vec::new();
        while !reply.is_read() {
            let (field, state) = (reply.text()?, reply.text()?);
            states.push(read(&field, &state)?);
        }
        Ok((now, states))
    }
}

/// Returns the field of a state.
pub(super) fn field(id: &PeriodicId) -> String {
    format!("{}:{}", id.name, id.owner)
}

/// Reads a state as `lib/periodic.lua` describes it.
fn read(field: &str, state: &str) -> Result<StoredPeriodic, BrokerError> {
    let malformed =
        || BrokerError::Corrupt(format!("the state of periodic task {field} is malformed"));
    let (name, owner) = field.split_once(':').ok_or_else(malformed)?;
    let mut parts = state.splitn(3, ' ');
    let mut part = || parts.next().ok_or_else(malformed);
    let (revision, task_id, record) = (part()?, part()?, part()?);
    Ok(StoredPeriodic {
        id: PeriodicId { owner: TenantId::new(owner), name: name.to_owned() },
        revision: revision.parse().map_err(|_| malformed())?,
        task_id: match task_id {
            "-" => None,
            id => Some(id.parse().map_err(|_| malformed())?),
        },
        state: record::decode(record)?,
    })
}
