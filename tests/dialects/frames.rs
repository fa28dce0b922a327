//! Reads streams of server-sent events.

use std::io::BufRead;

use serde_json::Value;

/// The `data` of the events of a stream, up to `[DONE]`, its end, or where the connection breaks.
pub(crate) struct Frames<R> {
    body: R,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(body: R) -> Self {
        Self { body }
    }
}

impl<R: BufRead> Iterator for Frames<R> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.body.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some(data) = line.strip_prefix("data: ") else { continue };
            return serde_json::from_str(data).ok(); // `[DONE]` is no JSON
        }
    }
}
