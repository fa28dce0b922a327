//! A thread that asks the gateway and carries out orders, so that keys are never kept waiting.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::ClientError;
use crate::client::admin::{Admin, Overview, understood};
use crate::text::printable;

/// What an operator wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Pause { model: String },
    Resume { model: String },
    Drain { worker: String, host: String },
}

impl Order {
    /// The question before it is done.
    pub(super) fn question(&self) -> String {
        match self {
            Self::Pause { model } => {
                format!("Pause {}? What runs goes on, what waits keeps waiting.", printable(model))
            }
            Self::Resume { model } => format!("Resume {}?", printable(model)),
            Self::Drain { worker, host } => format!(
                "Drain worker {} on {}? It ends what it has, then stops.",
                printable(worker),
                printable(host)
            ),
        }
    }

    /// What is told once it is done.
    fn done(&self) -> String {
        match self {
            Self::Pause { model } => format!("{} is paused", printable(model)),
            Self::Resume { model } => format!("{} goes on", printable(model)),
            Self::Drain { worker, .. } => format!("worker {} drains", printable(worker)),
        }
    }

    fn carry_out(&self, admin: &Admin) -> Result<Value, ClientError> {
        match self {
            Self::Pause { model } => admin.set_paused(model, true),
            Self::Resume { model } => admin.set_paused(model, false),
            Self::Drain { worker, .. } => admin.drain(worker),
        }
    }
}

/// What the gateway said, or why nothing was heard.
#[derive(Debug)]
pub(super) enum Report {
    Overview(Result<Box<Overview>, String>),
    /// An order was carried out.
    Done(String),
    /// An order was not.
    Failed(String),
}

/// The thread's two ends. It ends some time after this is dropped.
pub(super) struct Feed {
    orders: Sender<Order>,
    reports: Receiver<Report>,
}

impl Feed {
    pub(super) fn start(admin: Admin, interval: Duration) -> Self {
        let (orders, ordered) = mpsc::channel();
        let (report, reports) = mpsc::channel();
        std::thread::spawn(move || ask(&admin, interval, &ordered, &report));
        Self { orders, reports }
    }

    /// The next report, if one has come.
    pub(super) fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Has something done; a report will tell.
    pub(super) fn order(&self, order: Order) {
        // The thread lives as long as this.
        let _ = self.orders.send(order);
    }
}

/// Looks every `interval`, and right after each order, until nobody listens.
fn ask(admin: &Admin, interval: Duration, orders: &Receiver<Order>, reports: &Sender<Report>) {
    loop {
        let began = Instant::now();
        let look = admin.overview().and_then(|answer| understood("/admin/overview", answer));
        let look = look.map(Box::new).map_err(|error: ClientError| error.to_string());
        if reports.send(Report::Overview(look)).is_err() {
            return;
        }
        match orders.recv_timeout(interval.saturating_sub(began.elapsed())) {
            Ok(order) => {
                let report = match order.carry_out(admin) {
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
