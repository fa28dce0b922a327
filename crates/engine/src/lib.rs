//! # engine: what computes (being written)
pub mod api;
