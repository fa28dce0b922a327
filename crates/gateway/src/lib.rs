//! # gateway (being written)
