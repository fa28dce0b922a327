//! Reads JSON of any kind.

use serde_json::Value;

use super::warnings::{Warnings, quoted};
use super::{Reading, repair};

/// Reads one value; several in a row make a list.
pub(super) fn read(text: &str) -> Reading {
    let mut warnings = Warnings::default();
    let mut values = repair::values(text, &mut warnings).values;
    let structured = if values.len() > 1 { Some(Value::from(values)) } else { values.pop() };
    if structured.is_none() {
        warnings.add(format!(
            "no JSON was found: expected an object or a list, found {}",
            quoted(text)
        ));
    }
    Reading { structured, warnings: warnings.into_texts(), ..Reading::default() }
}
