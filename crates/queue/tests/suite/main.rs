//! The queue's tests: one conformance suite that every broker must pass, and what is special to each.

#![allow(clippy::unwrap_used)] // clippy.toml's exception knows `#[test]` functions only

mod conformance;
mod redis_faults;
mod redis_partitions;
mod sqlite_file;
mod sqlite_schema;
mod support;
