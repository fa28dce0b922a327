//! The queue's tests: the conformance suite that every broker must pass, and tests specific to
//! each.

#![allow(clippy::unwrap_used)] // clippy.toml's exception covers only `#[test]` functions

mod blob_memory;
mod blob_places;
mod conformance;
mod redis_clock;
mod redis_cluster;
mod redis_connections;
mod redis_cost;
mod redis_faults;
mod redis_fitness;
mod redis_full;
mod redis_listing;
mod redis_memory;
mod redis_metering;
mod redis_partitions;
mod redis_prefix;
mod redis_rights;
mod redis_sentinel;
mod redis_tls;
mod sqlite_clock;
mod sqlite_disk;
mod sqlite_file;
mod sqlite_metering;
mod sqlite_schema;
mod support;
