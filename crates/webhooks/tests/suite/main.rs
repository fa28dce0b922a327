//! Webhook tests over real sockets, on a real queue.
#![allow(clippy::unwrap_used, clippy::expect_used)] // in helpers too: a failure here is a failed test

mod delivering;
mod rig;
mod sending;
mod sharing;
