//! An answer of an attempt, and how much of it the queue has acknowledged.

use chat::{Logprobs, Part, TokenLogprobs, Tool};
use engine::text::{AnswerFormat, AnswerParser};
use protocol::{Chunk, TaskId};

/// A growing answer that is published in chunks, of which one is in flight at a time.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    text: String,
    /// The tokens' logprobs, if they were requested.
    logprobs: Logprobs,
    /// The answer's parts, if it is split.
    apart: Option<SplitAnswer>,
    /// The end of the acknowledged chunks.
    published_to: Ends,
    /// The end of the chunk in flight. The queue may or may not have it.
    sent_to: Option<Ends>,
}

/// A position in an answer: in its text, its parts and its logprobs.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    text: usize,
    parts: usize,
    logprobs: usize,
}

/// The parts of a split answer. Readers of the stream get the same parts as the outcome has.
#[derive(Debug)]
struct SplitAnswer {
    /// `None` after the end of the answer.
    parser: Option<AnswerParser>,
    /// All parts so far. Adjacent parts differ in kind, except where a chunk ended between them.
    parts: Vec<Part>,
    /// Begins the ids of the answer's calls; their number follows.
    call_id: String,
    calls: usize,
}

impl Answer {
    /// Starts splitting the answer into parts, of which `choice` is the index among the task's answers. Call it
    /// before the first token.
    ///
    /// `tools` are the functions that it may call. The ids of calls are derived from the task's id, so that the stream and the outcome have the same.
    pub(crate) fn start_splitting(
        &mut self,
        format: AnswerFormat,
        tools: &[Tool],
        task: TaskId,
        choice: usize,
    ) {
        let parser = Some(AnswerParser::new(format).with_tools(tools));
        // The last half of a UUIDv7 is random.
        let mut call_id = format!("call_{:016x}", task.as_uuid().as_u64_pair().1);
        if choice > 0 {
            call_id.push_str(&format!("_{choice}_"));
        }
        self.apart = Some(SplitAnswer { parser, parts: Vec::new(), call_id, calls: 0 });
    }

    /// Appends generated text and its logprobs.
    pub(crate) fn push(&mut self, text: &str, logprobs: Vec<TokenLogprobs>) {
        self.text.push_str(text);
        self.logprobs.content.extend(logprobs);
        let fixed = self.fixed_parts();
        if let Some(apart) = &mut self.apart
            && let Some(parser) = &mut apart.parser
        {
            let events = parser.push(text);
            apart.add(events, fixed);
        }
    }

    /// Ends the answer: emits text that the parser held back.
    pub(crate) fn end(&mut self) {
        let fixed = self.fixed_parts();
        if let Some(apart) = &mut self.apart
            && let Some(parser) = apart.parser.take()
        {
            apart.add(parser.finish(), fixed);
        }
    }

    /// Returns the number of parts that were sent, so that they can't be extended.
    fn fixed_parts(&self) -> usize {
        self.sent_to.unwrap_or(self.published_to).parts
    }

    /// Returns the logprobs so far, if they were requested.
    pub(crate) fn logprobs(&self) -> &Logprobs {
        &self.logprobs
    }

    /// Returns the whole text so far, including tags.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the parts so far, or `None` if the answer is not split.
    pub(crate) fn parts(&self) -> Option<&[Part]> {
        self.apart.as_ref().map(|apart| apart.parts.as_slice())
    }

    /// Returns how many bytes of text, parts and logprobs are not acknowledged, as one sum.
    pub(crate) fn left(&self) -> usize {
        let (ends, published) = (self.ends(), self.published_to);
        (ends.text - published.text)
            + (ends.parts - published.parts)
            + (ends.logprobs - published.logprobs)
    }

    fn ends(&self) -> Ends {
        Ends {
            text: self.text.len(),
            parts: self.parts().map_or(0, <[_]>::len),
            logprobs: self.logprobs.content.len(),
        }
    }

    /// Returns whether a chunk is in flight.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent_to.is_some()
    }

    /// Returns the next chunk. One that was not acknowledged is returned again unchanged, without later text.
    pub(crate) fn unpublished(&mut self) -> Chunk {
        let (from, ends) = (self.published_to, self.ends());
        let to = *self.sent_to.get_or_insert(ends);
        Chunk {
            choice: 0,
            text: self.text[from.text..to.text].to_owned(),
            parts: self.parts().map(|parts| parts[from.parts..to.parts].to_vec()),
            logprobs: self.logprobs.content[from.logprobs..to.logprobs].to_vec(),
        }
    }

    /// Marks the chunk that [`Self::unpublished`] last returned as acknowledged. Returns whether one was in flight.
    pub(crate) fn acknowledged(&mut self) -> bool {
        let sent = self.sent_to.take();
        self.published_to = sent.unwrap_or(self.published_to);
        sent.is_some()
    }
}

impl SplitAnswer {
    /// Adds the parser's events to the parts. The first `fixed` parts are not extended.
    fn add(&mut self, events: Vec<Part>, fixed: usize) {
        for event in events {
            let open = if self.parts.len() > fixed { self.parts.last_mut() } else { None };
            match (open, event) {
                (Some(Part::Text { text }), Part::Text { text: more })
                | (Some(Part::Reasoning { text }), Part::Reasoning { text: more }) => {
                    text.push_str(&more);
                }
                (_, Part::ToolCall { call }) => {
                    let id = format!("{}{}", self.call_id, self.calls);
                    self.calls += 1;
                    self.parts.push(Part::ToolCall { call: call.with_id(id) });
                }
                (_, part) => self.parts.push(part),
            }
        }
    }
}
