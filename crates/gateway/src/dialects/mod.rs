//! The dialects, one folder each. To add one, write its folder and add its line to [`all`].

mod anthropic;
mod jobs;
mod native;
mod ollama;
mod openai;
mod replicate;
mod runpod;
mod vision;

use std::sync::Arc;

use protocol::WebhookForm;
use queue::TaskEnd;

use crate::batches::Requests;
use crate::dialect::{Dialect, Dialects};
use crate::options::Options;

/// Creates all dialects of a gateway.
pub(crate) fn all(options: &Options) -> Dialects {
    let mut all: Vec<Box<dyn Dialect>> = vec![
        Box::new(openai::OpenAi),
        Box::new(anthropic::Anthropic),
        Box::new(runpod::RunPod),
        Box::new(replicate::Replicate),
        Box::new(ollama::Ollama),
        Box::new(vision::Vision),
    ];
    let described = all.iter().map(|dialect| dialect.describe(options)).collect();
    all.push(Box::new(native::Native::new(options, described)));
    Dialects::new(all)
}

/// Formats the body of an ended task's webhook, as the dialect that the task came from does.
pub(crate) fn webhook_body(end: &TaskEnd) -> Vec<u8> {
    match end.form {
        WebhookForm::Response => openai::webhook_body(end),
        WebhookForm::Job => runpod::webhook_body(end),
        WebhookForm::Prediction => replicate::webhook_body(end),
        WebhookForm::Task => native::webhook_body(end),
    }
}

/// Returns what reads the requests of batches.
pub(crate) fn batch_requests() -> Arc<dyn Requests> {
    Arc::new(openai::BatchRequests)
}
