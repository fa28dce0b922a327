//! The queue's tests: one conformance suite that every broker must pass, and what is special to each.

#![allow(clippy::unwrap_used)] // clippy.toml's exception knows `#[test]` functions only

mod conformance;
mod redis_clock;
mod redis_cluster;
mod redis_connections;
mod redis_cost;
mod redis_faults;
mod redis_full;
mod redis_memory;
mod redis_partitions;
mod redis_rights;
mod redis_tls;
mod sqlite_clock;
mod sqlite_disk;
mod sqlite_file;
mod sqlite_schema;
mod support;
