//! Follows a task to its end: waits for the end ([`for_end`]) or reads its events ([`Feed`]).
//! Survives outages of the queue; knows no dialect.

mod end;
mod events;

pub(crate) use end::{Waited, for_end};
pub(crate) use events::{Feed, Step};
