//! Follows a task to its end: waits for the end ([`for_end`]) or reads its events ([`Feed`]).
//! Survives outages of the queue; knows no dialect.

pub(crate) mod answer;
mod attended;
mod end;
mod events;
mod stream;
mod whole;

pub(crate) use attended::Attended;
pub(crate) use end::{Waited, for_end};
pub(crate) use events::{Feed, Step};
pub(crate) use stream::AnswerStream;
pub(crate) use whole::Call;
