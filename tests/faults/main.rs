//! Fault tests with real kills: no accepted task is lost, each has exactly one outcome, and what a
//! dead process held is recovered within two leases.
//!
//! Each test causes one fault and checks all observations with [`harness::promise`]; [`chaos`]
//! causes them all at random.

mod batches;
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
