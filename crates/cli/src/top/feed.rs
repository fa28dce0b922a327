//! A thread that polls the gateway and executes the operator's orders, so that the view never
//! blocks.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::ClientError;
use crate::client::admin::{Admin, Overview, understood};
use crate::text::printable;

/// An operation that the operator requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Pause { model: String },
    Resume { model: String },
    Drain { worker: String, host: String },
}

impl Order {
    /// Returns the question to confirm it.
    pub(super) fn question(&self) -> String {
        match self {
            Self::Pause { model } => {
                format!(
                    "Pause {}? Running tasks continue, queued tasks stay queued.",
                    printable(model)
                )
            }
            Self::Resume { model } => format!("Resume {}?", printable(model)),
            Self::Drain { worker, host } => format!(
                "Drain worker {} on {}? It finishes its tasks, then stops.",
                printable(worker),
                printable(host)
            ),
        }
    }

    /// Returns the notice after it was executed.
    fn done(&self) -> String {
        match self {
            Self::Pause { model } => format!("{} is paused", printable(model)),
            Self::Resume { model } => format!("{} is resumed", printable(model)),
            Self::Drain { worker, .. } => format!("worker {} is draining", printable(worker)),
        }
    }

    fn execute(&self, admin: &Admin) -> Result<Value, ClientError> {
        match self {
            Self::Pause { model } => admin.set_paused(model, true),
            Self::Resume { model } => admin.set_paused(model, false),
            Self::Drain { worker, .. } => admin.drain(worker),
        }
    }
}

/// A message from the thread.
#[derive(Debug)]
pub(super) enum Report {
    /// The overview, or why it could not be fetched.
    Overview(Result<Box<Overview>, String>),
    /// An order was executed.
    Done(String),
    /// An order failed.
    Failed(String),
}

/// The channels to the thread. The thread ends some time after this is dropped.
pub(super) struct Feed {
    orders: Sender<Order>,
    reports: Receiver<Report>,
}

impl Feed {
    pub(super) fn start(admin: Admin, interval: Duration) -> Self {
        let (orders, ordered) = mpsc::channel();
        let (report, reports) = mpsc::channel();
        std::thread::spawn(move || run(&admin, interval, &ordered, &report));
        Self { orders, reports }
    }

    /// Returns the next report, if there is one.
    pub(super) fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Requests an operation. A report has its result.
    pub(super) fn order(&self, order: Order) {
        // Cannot fail: the thread lives as long as `self`.
        let _ = self.orders.send(order);
    }
}

/// Fetches the overview every `interval` and after each order, until the [`Feed`] is dropped.
fn run(admin: &Admin, interval: Duration, orders: &Receiver<Order>, reports: &Sender<Report>) {
    loop {
        let began = Instant::now();
        let overview = admin.overview().and_then(|answer| understood("/admin/overview", answer));
        let overview = overview.map(Box::new).map_err(|error: ClientError| error.to_string());
        if reports.send(Report::Overview(overview)).is_err() {
            return;
        }
        match orders.recv_timeout(interval.saturating_sub(began.elapsed())) {
            Ok(order) => {
                let report = match order.execute(admin) {
                    Ok(_) => Report::Done(order.done()),
                    Err(error) => Report::Failed(error.to_string()),
                };
                if reports.send(report).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
