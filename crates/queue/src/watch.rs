//! Wake-ups: hints that something happened, so that nobody has to poll (being written).

/// A wake-up line for one task.
pub struct Watch;
/// Names tasks whose cancellation was asked for.
pub struct CancelFeed;
