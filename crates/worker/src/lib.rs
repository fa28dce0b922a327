//! # worker (being written)
