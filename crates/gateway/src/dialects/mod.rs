//! The dialects, one folder each. To add one, write its folder and add its line to [`all`].

mod anthropic;
pub(crate) mod native;
mod openai;

use std::sync::Arc;

use crate::batches::Requests;
use crate::dialect::Dialects;
use crate::options::Options;

/// Creates all dialects of a gateway.
pub(crate) fn all(options: &Options) -> Dialects {
    Dialects::new(vec![
        Box::new(native::Native::new(options)),
        Box::new(openai::OpenAi),
        Box::new(anthropic::Anthropic),
    ])
}

/// Returns what reads the requests of batches.
pub(crate) fn batch_requests() -> Arc<dyn Requests> {
    Arc::new(openai::BatchRequests)
}
