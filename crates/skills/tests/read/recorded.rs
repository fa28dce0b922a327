//! Recorded answers: the expected structure and the expected warnings, no more and no less.

use protocol::SkillOutput;
use serde_json::Value;

use crate::samples::{self, Sample};

/// Compares values. Coordinates in pixels may differ by a rounding.
fn is_alike(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            (left - right).abs() < 0.0101
        }
        // The recorded answers have texts in the place of numbers that Python can't write.
        (Value::Number(left), Value::String(right)) => left.to_string() == *right,
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| is_alike(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| is_alike(left, right)))
        }
        (left, right) => left == right,
    }
}

fn check(output: SkillOutput, sample: &Sample) -> Result<(), String> {
    let reading = sample.read(output, &sample.text);
    let structured = reading.structured.unwrap_or_default();
    if !is_alike(&structured, &sample.structured) {
        return Err(format!(
            "reads {structured}\nnot   {}\nwith {:?}",
            sample.structured, reading.warnings
        ));
    }
    let expected =
        |warning: &&String| sample.warnings.iter().any(|part| warning.contains(part.as_str()));
    let is_expected = reading.warnings.len() == sample.warnings.len()
        && reading.warnings.iter().all(|w| expected(&w));
    if is_expected {
        Ok(())
    } else {
        Err(format!("warns {:?}\nnot {:?}", reading.warnings, sample.warnings))
    }
}

fn check_all(output: SkillOutput) {
    let samples = samples::of(output);
    assert!(samples.len() >= 200, "{} answers", samples.len());
    let failures: Vec<String> = samples
        .iter()
        .enumerate()
        .filter_map(|(line, sample)| {
            let error = check(output, sample).err()?;
            Some(format!("line {}, {}:\n{}\n{error}", line + 1, sample.note, sample.text))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} answers:\n\n{}",
        failures.len(),
        samples.len(),
        failures[..failures.len().min(12)].join("\n\n")
    );
}

#[test]
fn boxes() {
    check_all(SkillOutput::Boxes);
}

#[test]
fn points() {
    check_all(SkillOutput::Points);
}

#[test]
fn html() {
    check_all(SkillOutput::Html);
}

#[test]
fn markdown() {
    check_all(SkillOutput::Markdown);
}

#[test]
fn events() {
    check_all(SkillOutput::Events);
}

#[test]
fn actions() {
    check_all(SkillOutput::Actions);
}

#[test]
fn json() {
    check_all(SkillOutput::Json);
}
