//! One module per command, or per family of commands.

pub(crate) mod bench;
pub(crate) mod model;
pub(crate) mod task;
pub(crate) mod up;
