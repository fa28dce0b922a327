//! The dialects, one folder each. To add one, write its folder and add its line to [`all`].

mod anthropic;
pub(crate) mod native;
mod openai;

use crate::dialect::{Dialect, Dialects};
use crate::options::Options;

/// Creates all dialects of a gateway.
pub(crate) fn all(options: &Options) -> Dialects {
    let mut all: Vec<Box<dyn Dialect>> =
        vec![Box::new(openai::OpenAi), Box::new(anthropic::Anthropic)];
    let described = all.iter().map(|dialect| dialect.describe(options)).collect();
    all.push(Box::new(native::Native::new(options, described)));
    Dialects::new(all)
}
