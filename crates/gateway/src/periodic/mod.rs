//! Periodic tasks: submits the entries of the operators' schedule (`SCHEDULE_FILE`) when they are due, each occurrence
//! once, however many gateways have the file.
//!
//! | file           | contents |
//! |----------------|----------|
//! | `file.rs`      | reads the file, and lists all its problems |
//! | `order.rs`     | the request of an entry as an order |
//! | `submit.rs`    | submits a run; finds out who pays for it |
//! | `scheduler.rs` | [`Scheduler`]: the loop |
//! | `advance.rs`, `rest.rs` | what it does for one entry; the pauses after refusals |
//! | `begin.rs`     | takes over a timetable: begins new entries, forgets removed ones |
//! | `reload.rs`    | reads the file again |
//!
//! The store has how far each entry got. A submit advances an entry in the same atomic step in which the task is
//! stored, and only from the state that the gateway read. So of all gateways one makes each run, and a gateway that
//! dies at any moment neither loses nor repeats one.

mod advance;
mod begin;
mod file;
mod order;
mod reload;
mod rest;
mod scheduler;
mod submit;

pub use self::file::{ScheduleError, check, read};
pub(crate) use self::reload::follow;
pub(crate) use self::scheduler::Scheduler;
pub(crate) use self::submit::{access_of, run_now};
