//! Checks the lines of a batch's file: each must be a request for the batch's endpoint, with an id of its own.
//! Whether its body is valid shows when it runs.

use std::collections::HashSet;

use queue::BatchProblem;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::MAX_LINES;
use super::input::Line;
use crate::validate::{self, echo, type_name};

/// Maximum length of a `custom_id`, in characters.
const MAX_ID: usize = 512;
/// The number of problems after which no more are looked for.
const MAX_PROBLEMS: usize = 100;

/// A line that is a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) custom_id: String,
    pub(super) body: Value,
}

/// Checks lines one after another.
pub(super) struct Checker {
    endpoint: String,
    /// Hashes of the ids, since the ids may be long.
    ids: HashSet<[u8; 16]>,
    /// The number of lines.
    pub(super) total: u32,
    pub(super) problems: Vec<BatchProblem>,
}

impl Checker {
    pub(super) fn new(endpoint: &str) -> Self {
        let ids = HashSet::new();
        Self { endpoint: endpoint.to_owned(), ids, total: 0, problems: Vec::new() }
    }

    /// Checks a line. Returns `false` if the rest need not be checked.
    pub(super) fn take(&mut self, line: &Line) -> bool {
        self.total += 1;
        if self.total > MAX_LINES {
            let message =
                format!("The file has too many requests: at most {MAX_LINES} are allowed.");
            self.problems.push(problem("too_many_tasks", message, None, None));
            return false;
        }
        match request(line, &self.endpoint) {
            Err(problem) => self.problems.push(problem),
            Ok(request) => {
                let hash: [u8; 32] = Sha256::digest(&request.custom_id).into();
                let mut short = [0; 16];
                short.copy_from_slice(&hash[..16]);
                if !self.ids.insert(short) {
                    let message = format!(
                        "The custom_id '{}' of this request is that of an earlier one: each must \
                         be unique.",
                        echo(&request.custom_id)
                    );
                    let param = Some("custom_id");
                    self.problems.push(problem(
                        "duplicate_custom_id",
                        message,
                        param,
                        Some(line.number),
                    ));
                }
            }
        }
        self.problems.len() < MAX_PROBLEMS
    }

    /// Ends the check. Returns the number of lines, or their problems.
    pub(super) fn finish(mut self) -> Result<u32, Vec<BatchProblem>> {
        if self.total == 0 {
            let message = "The file has no requests: it needs one JSON object per line.";
            self.problems.push(problem("empty_file", message, None, None));
        }
        if self.problems.is_empty() { Ok(self.total) } else { Err(self.problems) }
    }
}

/// Creates a problem.
pub(super) fn problem(
    code: &str,
    message: impl Into<String>,
    param: Option<&str>,
    line: Option<u32>,
) -> BatchProblem {
    BatchProblem {
        code: code.to_owned(),
        message: message.into(),
        param: param.map(str::to_owned),
        line,
    }
}

/// Reads a line as a request for `endpoint`.
pub(super) fn request(line: &Line, endpoint: &str) -> Result<Request, BatchProblem> {
    let at = |code: &str, message: String, param: Option<&str>| {
        Err(problem(code, message, param, Some(line.number)))
    };
    let Some(text) = &line.text else {
        return at("line_too_long", "This line is longer than a request may be.".into(), None);
    };
    let mut value = match validate::parse(text) {
        Ok(value) => value,
        Err(error) => {
            let reason = error.0.message.replace("the body is", "it is");
            let message = format!("This line can't be used: {reason}");
            return at("invalid_json_line", message, None);
        }
    };
    if !value.is_object() {
        let message = format!("This line must be a JSON object, and is {}.", type_name(&value));
        return at("invalid_request", message, None);
    }
    let custom_id = match value["custom_id"].as_str() {
        None | Some("") => {
            let message = "This request has no custom_id: a string that no other request has.";
            return at("missing_required_parameter", message.into(), Some("custom_id"));
        }
        Some(id) if id.chars().count() > MAX_ID => {
            let message = format!("The custom_id may have at most {MAX_ID} characters.");
            return at("invalid_value", message, Some("custom_id"));
        }
        Some(id) => id.to_owned(),
    };
    match value["method"].as_str() {
        Some("POST") => {}
        other => {
            let message =
                format!("The method must be POST, is '{}'.", echo(other.unwrap_or_default()));
            return at("invalid_method", message, Some("method"));
        }
    }
    match value["url"].as_str() {
        Some(url) if url == endpoint => {}
        other => {
            let message = format!(
                "The URL of this request, '{}', does not match the batch's endpoint, '{endpoint}'.",
                echo(other.unwrap_or_default())
            );
            return at("url_mismatch", message, Some("url"));
        }
    }
    let body = value["body"].take();
    if !body.is_object() {
        let message = format!("The body must be a JSON object, and is {}.", type_name(&body));
        return at("invalid_request", message, Some("body"));
    }
    if body["stream"] == true {
        let message = "The requests of a batch can't be streamed: leave stream out.";
        return at("invalid_value", message.into(), Some("body.stream"));
    }
    Ok(Request { custom_id, body })
}

#[cfg(test)]
mod tests {
    use actix_web::web::Bytes;

    use super::*;

    const CHAT: &str = "/v1/chat/completions";

    fn checked(lines: &[&str]) -> Result<u32, Vec<(String, Option<u32>)>> {
        let mut checker = Checker::new(CHAT);
        for (text, number) in lines.iter().zip(1..) {
            let text = Some(Bytes::copy_from_slice(text.as_bytes()));
            checker.take(&Line { number, text });
        }
        let short = |problem: BatchProblem| (problem.code, problem.line);
        checker.finish().map_err(|problems| problems.into_iter().map(short).collect())
    }

    fn line(id: &str) -> String {
        format!(r#"{{"custom_id":"{id}","method":"POST","url":"{CHAT}","body":{{}}}}"#)
    }

    #[test]
    fn problems_name_the_line() {
        let (a, b) = (line("a"), line("b"));
        assert_eq!(checked(&[&a, &b]), Ok(2));
        assert_eq!(checked(&[]), Err(vec![("empty_file".into(), None)]));
        let get = a.replace("POST", "GET");
        let elsewhere = b.replace(CHAT, "/v1/embeddings");
        let streamed = line("c").replace("{}", r#"{"stream":true}"#);
        let bodiless = line("d").replace("{}", "[]");
        let nameless = a.replace(r#""a""#, "7");
        let found =
            checked(&[&a, "{", "[]", &a, &get, &elsewhere, &streamed, &bodiless, &nameless, &b]);
        let expected = [
            ("invalid_json_line", 2),
            ("invalid_request", 3),
            ("duplicate_custom_id", 4),
            ("invalid_method", 5),
            ("url_mismatch", 6),
            ("invalid_value", 7),
            ("invalid_request", 8),
            ("missing_required_parameter", 9),
        ];
        assert_eq!(found, Err(expected.map(|(code, line)| (code.to_owned(), Some(line))).into()));
    }

    #[test]
    fn check_ends_after_too_many_lines_or_problems() {
        let mut checker = Checker::new(CHAT);
        let bad = |number| Line { number, text: None };
        assert!((1..100).all(|number| checker.take(&bad(number))));
        assert!(!checker.take(&bad(100)));
        let mut checker = Checker::new(CHAT);
        let good =
            |number: u32| Line { number, text: Some(Bytes::from(line(&number.to_string()))) };
        assert!((1..=MAX_LINES).all(|number| checker.take(&good(number))));
        assert!(!checker.take(&good(MAX_LINES + 1)));
        let problems = checker.finish().unwrap_err();
        assert_eq!(problems[0].code, "too_many_tasks");
    }
}
