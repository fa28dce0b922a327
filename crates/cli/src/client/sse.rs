//! Parses server-sent events, as far as a task's stream uses the format
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context, Result};
use serde_json::Value;

/// One event.
pub(crate) struct SseEvent {
    /// Its number, after which a client can resume.
    pub(crate) seq: u64,
    /// The event's type, e.g. `token`.
    pub(crate) name: String,
    /// The event's data.
    pub(crate) data: Value,
}

/// A stream of events.
pub(crate) struct Events {
    lines: io::Lines<BufReader<Box<dyn Read>>>,
}

impl Events {
    /// Parses the body of a response.
    pub(crate) fn new(body: impl Read + 'static) -> Self {
        let body: Box<dyn Read> = Box::new(body);
        Self { lines: BufReader::new(body).lines() }
    }
}

impl Iterator for Events {
    type Item = Result<SseEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut seq, mut name, mut data) = (0, String::new(), String::new());
        for line in &mut self.lines {
            let line = match line {
                Ok(line) => line,
                Err(error) => return Some(Err(error).context("the event stream broke off")),
            };
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => seq = value.parse().unwrap_or(seq),
                "event" => name = value.to_owned(),
                "data" => data.push_str(value),
                "" if line.is_empty() && !data.is_empty() => {
                    let data = serde_json::from_str(&data).context("an event's data is not JSON");
                    return Some(data.map(|data| SseEvent { seq, name, data }));
                }
                _ => {} // a comment that keeps the connection alive, or an empty event
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_events_and_skips_comments() {
        let stream = ": hello\n\nid: 1\nevent: queued\ndata: {}\n\n:\n\nid: 2\nevent: token\ndata: {\"text\":\"a:b\"}\n\n";
        let events: Vec<_> = Events::new(stream.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(events.len(), 2);
        assert_eq!((events[1].seq, events[1].name.as_str()), (2, "token"));
        assert_eq!(events[1].data["text"], "a:b");
    }
}
