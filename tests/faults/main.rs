//! Tries to break the promise with real kills: no accepted task is lost, each has exactly one
//! outcome, and what a dead process held goes on within two leases.
//!
//! Each test plays one misfortune and has [`harness::promise`] judge all that was seen; [`chaos`]
//! plays them all at random.

mod cancelling;
mod chaos;
mod device;
mod gateway;
mod load;
mod log_lines;
mod network;
mod reaping;
mod redis;
mod stall;
mod stopping;
mod watching;
mod worker;
