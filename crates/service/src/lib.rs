//! # service (being written)
