//! Tests the gateway over real sockets with a real queue. The tests act as the worker through the
//! broker.
#![allow(clippy::unwrap_used, clippy::expect_used)] // in helpers too: a failure here is a failed test

mod admin;
mod admin_dead_letters;
mod anthropic;
mod client;
mod conversations;
mod docs;
mod events;
mod expiry;
mod faulty_broker;
mod lifecycle;
mod logs;
mod openai;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_errors;
mod openai_input_tokens;
mod openai_leaving;
mod openai_models;
mod openai_responses;
mod openai_responses_stored;
mod openai_stream;
mod options;
mod options_kept;
mod outage;
mod raw;
mod recorded;
mod refusals;
mod reloading;
mod rig;
mod tasks;
mod waiting;
mod waiting_many;
mod webhooks;
