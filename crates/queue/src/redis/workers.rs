//! The registry of workers: reports, their removal, and operators' orders.

use std::time::Duration;

use protocol::{Timestamp, WorkerId, WorkerReport, record};

use super::partition::Partition;
use super::reply::Reply;
use super::scripts::millis;
use crate::{BrokerError, WorkerOrders, stored};

impl Partition {
    pub(super) async fn report_worker(
        &self,
        report: &WorkerReport,
        ttl: Duration,
    ) -> Result<WorkerOrders, BrokerError> {
        let mut call = self.scripts.report_worker.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.workers()).key(self.keys.seen());
        call.key(self.keys.draining()).key(self.keys.heard());
        call.arg(report.id.to_string()).arg(record::encode(report)?).arg(millis(ttl));
        let mut reply = Reply::new("report_worker", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "stored" => Ok(WorkerOrders { drain: reply.text()? == "1" }),
            other => Err(reply.unexpected(other)),
        }
    }

    pub(super) async fn forget_worker(&self, id: WorkerId) -> Result<(), BrokerError> {
        let mut call = self.scripts.forget_worker.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.seen()).arg(id.to_string());
        self.link.run(&call).await.map(drop)
    }

    pub(super) async fn workers(&self) -> Result<Vec<WorkerReport>, BrokerError> {
        let mut call = self.scripts.workers.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.workers()).key(self.keys.seen());
        call.key(self.keys.heard());
        let mut reply = Reply::new("workers", self.link.run(&call).await?);
        let mut reports = Vec::new();
        while !reply.is_read() {
            let text = reply.text()?;
            reports.push((text, reply.optional()?.map(Timestamp::from_millis)));
        }
        Ok(stored::reports(reports))
    }

    pub(super) async fn drain_worker(&self, id: WorkerId) -> Result<bool, BrokerError> {
        let mut call = self.scripts.drain_worker.prepare_invoke();
        call.key(self.keys.base()).key(self.keys.seen()).key(self.keys.draining());
        call.arg(id.to_string());
        let mut reply = Reply::new("drain_worker", self.link.run(&call).await?);
        match reply.text()?.as_str() {
            "ordered" => Ok(true),
            "unknown" => Ok(false),
            other => Err(reply.unexpected(other)),
        }
    }
}
