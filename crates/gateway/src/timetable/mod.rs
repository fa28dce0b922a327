//! The timetable of periodic tasks: what the file of a schedule says, without how it is submitted (`crate::periodic`).
//!
//! | file        | contents |
//! |-------------|----------|
//! | `entry.rs`  | [`Entry`]: one entry; [`Timetable`]: all of them |
//! | `timing.rs` | [`Timing`]: the occurrences of a cron expression in a time zone |
//! | `due.rs`    | what is due: a pure function of an entry, how far it got, and the time |
//! | `shared.rs` | [`Periodic`]: the timetable in force |

mod due;
mod entry;
mod shared;
mod timing;

pub(crate) use self::due::{Due, due, next};
pub use self::entry::Timetable;
#[cfg(test)]
pub(crate) use self::entry::tests::entry as entry_for_tests;
pub(crate) use self::entry::{Entry, Missed, Payer};
pub(crate) use self::shared::Periodic;
pub(crate) use self::timing::{Timing, shown};
