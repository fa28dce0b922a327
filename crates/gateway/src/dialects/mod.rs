//! The dialects, one folder each. To add one, write its folder and add its line to [`all`].

mod anthropic;
mod jobs;
mod native;
mod ollama;
mod openai;
mod replicate;
mod runpod;

use protocol::WebhookForm;
use queue::TaskEnd;

use crate::dialect::Dialects;
use crate::options::Options;

/// Creates all dialects of a gateway.
pub(crate) fn all(options: &Options) -> Dialects {
    Dialects::new(vec![
        Box::new(native::Native::new(options)),
        Box::new(openai::OpenAi),
        Box::new(anthropic::Anthropic),
        Box::new(runpod::RunPod),
        Box::new(replicate::Replicate),
        Box::new(ollama::Ollama),
    ])
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
