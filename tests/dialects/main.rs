//! Clients of the OpenAI routes at real processes: they lose gateways and workers, come in hundreds, and leave.

mod audience;
mod frames;
mod leaving;
mod many_streams;
mod resuming;
mod scaling_down;
