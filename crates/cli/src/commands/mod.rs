//! One module per command, or per family of commands.

pub(crate) mod bench;
mod follow;
pub(crate) mod model;
pub(crate) mod operate;
mod sampling;
pub(crate) mod skill;
pub(crate) mod task;
pub(crate) mod up;
mod visuals;
