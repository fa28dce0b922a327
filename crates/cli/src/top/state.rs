//! The state of `top`. Selections are by name, so a row that moves stays selected.

use std::time::{Duration, Instant};

use crate::client::admin::{Batch, Overview, Queue, Worker};

use super::feed::{Order, Report};
use super::rates::Rates;

/// The time for which a notice is shown.
const NOTICE_DURATION: Duration = Duration::from_secs(6);

/// The table in which the arrow keys move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Queues,
    Workers,
}

/// The dialog over the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dialog {
    None,
    Help,
    /// Asks whether to execute an order.
    Confirm(Order),
}

/// A message that is shown for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_error: bool,
    since: Instant,
}

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct State {
    pub(super) url: String,
    /// The latest overview, or `None` before the first.
    pub(super) overview: Option<Overview>,
    pub(super) rates: Rates,
    /// The times of the first and the latest overview.
    pub(super) seen: Option<(Instant, Instant)>,
    /// The error of the latest overview, and the time since which they fail.
    pub(super) trouble: Option<(String, Instant)>,
    pub(super) focus: Focus,
    pub(super) dialog: Dialog,
    pub(super) notice: Option<Notice>,
    model: Option<String>,
    worker: Option<String>,
}

impl State {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            overview: None,
            rates: Rates::default(),
            seen: None,
            trouble: None,
            focus: Focus::Queues,
            dialog: Dialog::None,
            notice: None,
            model: None,
            worker: None,
        }
    }

    /// Applies a report.
    pub(super) fn take(&mut self, report: Report, now: Instant) {
        match report {
            Report::Overview(Ok(mut overview)) => {
                overview
                    .workers
                    .sort_by(|a, b| (&a.host, a.pid, &a.id).cmp(&(&b.host, b.pid, &b.id)));
                self.rates.take(&overview);
                self.overview = Some(*overview);
                self.seen = Some((self.seen.map_or(now, |(first, _)| first), now));
                self.trouble = None;
            }
            Report::Overview(Err(reason)) => {
                let since = self.trouble.take().map_or(now, |(_, since)| since);
                self.trouble = Some((reason, since));
            }
            Report::Done(text) => self.notice = Some(Notice { text, is_error: false, since: now }),
            Report::Failed(text) => self.notice = Some(Notice { text, is_error: true, since: now }),
        }
    }

    pub(super) fn clear_old_notice(&mut self, now: Instant) {
        self.notice.take_if(|notice| now.duration_since(notice.since) > NOTICE_DURATION);
    }

    pub(super) fn queues(&self) -> &[Queue] {
        self.overview.as_ref().map_or(&[], |overview| &overview.queues)
    }

    pub(super) fn batches(&self) -> &[Batch] {
        self.overview.as_ref().map_or(&[], |overview| &overview.batches)
    }

    pub(super) fn workers(&self) -> &[Worker] {
        self.overview.as_ref().map_or(&[], |overview| &overview.workers)
    }

    /// Returns the row of the selected queue, or the first if it is gone.
    pub(super) fn queue_row(&self) -> Option<usize> {
        let named = self.queues().iter().position(|q| Some(&q.model) == self.model.as_ref());
        named.or_else(|| (!self.queues().is_empty()).then_some(0))
    }

    /// Returns the row of the selected worker, or the first if it is gone.
    pub(super) fn worker_row(&self) -> Option<usize> {
        let named = self.workers().iter().position(|w| Some(&w.id) == self.worker.as_ref());
        named.or_else(|| (!self.workers().is_empty()).then_some(0))
    }

    pub(super) fn selected_queue(&self) -> Option<&Queue> {
        self.queues().get(self.queue_row()?)
    }

    pub(super) fn selected_worker(&self) -> Option<&Worker> {
        self.workers().get(self.worker_row()?)
    }

    /// Moves the selection in the focused table by `step` rows, at most to its ends.
    pub(super) fn select(&mut self, step: isize) {
        let moved = |row: Option<usize>, count: usize| {
            row.map(|row| row.saturating_add_signed(step).min(count.saturating_sub(1)))
        };
        match self.focus {
            Focus::Queues => {
                let row = moved(self.queue_row(), self.queues().len());
                self.model = row.and_then(|row| Some(self.queues().get(row)?.model.clone()));
            }
            Focus::Workers => {
                let row = moved(self.worker_row(), self.workers().len());
                self.worker = row.and_then(|row| Some(self.workers().get(row)?.id.clone()));
            }
        }
    }
}
