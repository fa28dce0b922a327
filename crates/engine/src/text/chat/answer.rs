//! Splits an answer into reasoning (`<think>`), text and function calls (`<tool_call>`), in the format of the
//! Qwen families, while it is generated.

use super::call::StringScan;
pub use super::call::ToolCall;

/// The tag that opens reasoning.
pub(crate) const THINK: &str = "<think>";
/// The tag that closes it.
pub(crate) const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerEvent {
    /// More of the reasoning before the answer.
    Reasoning(String),
    /// More of the answer.
    Content(String),
    /// A complete function call.
    ToolCall(ToolCall),
}

/// The parts that an answer may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerFormat {
    /// Whether to split off reasoning.
    pub reasoning: bool,
    /// Whether the prompt ended with `<think>`, so that the answer begins inside reasoning.
    pub begins_in_reasoning: bool,
    /// Whether to split off function calls.
    pub tools: bool,
}

/// Splits an answer into its parts, independent of how it is cut into pieces.
///
/// Reasoning may only come first. White space beside a tag is dropped; everything else is emitted unchanged.
#[derive(Debug, Clone)]
pub struct AnswerParser {
    format: AnswerFormat,
    part: Part,
    /// Held-back text that may become a tag.
    tag: String,
    /// Held-back white space, emitted if text follows.
    space: String,
    /// Whether text of the current part was emitted.
    begun: bool,
    /// Whether a tag precedes the current part.
    after_tag: bool,
    /// The text of the current call so far.
    call: String,
    /// The string state at its end.
    strings: StringScan,
    /// The offsets in it of closing tags inside strings.
    quoted_ends: Vec<usize>,
    events: Vec<AnswerEvent>,
}

/// The current part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before any text.
    Beginning,
    Reasoning,
    Content,
    Call,
}

impl AnswerParser {
    /// Creates a parser at the beginning of an answer.
    pub fn new(format: AnswerFormat) -> Self {
        let begins = format.reasoning && format.begins_in_reasoning;
        Self {
            format,
            part: if begins { Part::Reasoning } else { Part::Beginning },
            tag: String::new(),
            space: String::new(),
            begun: false,
            after_tag: begins,
            call: String::new(),
            strings: StringScan::default(),
            quoted_ends: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Appends the next piece of the answer, and returns the events that are certain. Adjacent events differ in
    /// kind, except for calls.
    pub fn push(&mut self, text: &str) -> Vec<AnswerEvent> {
        text.chars().for_each(|char| self.step(char));
        std::mem::take(&mut self.events)
    }

    /// Ends the answer: returns held-back text, including an unclosed call.
    pub fn finish(mut self) -> Vec<AnswerEvent> {
        loop {
            let tag = std::mem::take(&mut self.tag);
            tag.chars().for_each(|char| self.text(char));
            if self.part != Part::Call || !self.end_call() {
                break;
            }
        }
        match self.part {
            Part::Call => {}
            Part::Reasoning => {}
            // White space at the end belongs to the answer.
            Part::Beginning | Part::Content if self.begun || !self.after_tag => {
                let space = std::mem::take(&mut self.space);
                self.tell(&space);
            }
            Part::Beginning | Part::Content => {}
        }
        self.events
    }

    /// Returns the tags that are recognized in the current part.
    fn tags(&self) -> &'static [&'static str] {
        match (self.part, self.format.reasoning, self.format.tools) {
            (Part::Reasoning, ..) => &[THINK_END],
            (Part::Call, ..) => &[CALL_END],
            (Part::Beginning, true, true) => &[THINK, CALL],
            (Part::Beginning, true, false) => &[THINK],
            (Part::Beginning | Part::Content, _, true) => &[CALL],
            (Part::Beginning | Part::Content, _, false) => &[],
        }
    }

    fn step(&mut self, char: char) {
        self.tag.push(char);
        let tags = self.tags();
        if let Some(tag) = tags.iter().find(|tag| **tag == self.tag) {
            self.tag.clear();
            self.change(tag);
        } else if !tags.iter().any(|tag| tag.starts_with(self.tag.as_str())) {
            // Tags contain `<` only at their start, so no tag begins within the held-back text.
            self.tag.pop();
            let held = std::mem::take(&mut self.tag);
            held.chars().for_each(|char| self.text(char));
            if char == '<' && self.tags().iter().any(|tag| tag.starts_with('<')) {
                self.tag.push(char);
            } else {
                self.text(char);
            }
        }
    }

    /// Handles a recognized tag.
    fn change(&mut self, tag: &str) {
        if tag == CALL_END && self.strings.is_open() {
            self.quoted_ends.push(self.call.len());
            return tag.chars().for_each(|char| self.text(char));
        }
        let next = match tag {
            THINK => Part::Reasoning,
            CALL => Part::Call,
            _ => Part::Content,
        };
        if self.part == Part::Call && self.end_call() {
            // The call had ended before, and this tag may end another.
            return tag.chars().for_each(|char| self.step(char));
        }
        self.enter(next);
    }

    /// Starts a part after a tag.
    fn enter(&mut self, part: Part) {
        self.space.clear();
        (self.part, self.begun, self.after_tag) = (part, false, true);
    }

    fn text(&mut self, char: char) {
        if self.part == Part::Call {
            self.call.push(char);
            self.strings.push(char);
        } else if char.is_whitespace() {
            self.space.push(char);
        } else {
            if self.part == Part::Beginning {
                self.part = Part::Content;
            }
            let mut text = std::mem::take(&mut self.space);
            if self.after_tag && !self.begun {
                text.clear();
            }
            text.push(char);
            self.begun = true;
            self.tell(&text);
        }
    }

    fn tell(&mut self, text: &str) {
        match (self.part, self.events.last_mut()) {
            (Part::Reasoning, Some(AnswerEvent::Reasoning(told)))
            | (Part::Beginning | Part::Content, Some(AnswerEvent::Content(told))) => {
                told.push_str(text);
            }
            _ if text.is_empty() => {}
            (Part::Reasoning, _) => self.events.push(AnswerEvent::Reasoning(text.to_owned())),
            _ => self.events.push(AnswerEvent::Content(text.to_owned())),
        }
    }

    /// Emits the call that has ended. An invalid call may have an unclosed quote, so that its closing tag seemed
    /// to be inside a string: then the call ends at that tag, the text after it is parsed again, and this returns
    /// true.
    fn end_call(&mut self) -> bool {
        let raw = std::mem::take(&mut self.call);
        let quoted_ends = std::mem::take(&mut self.quoted_ends);
        self.strings = StringScan::default();
        let call = ToolCall::read(&raw);
        let Some(end) = quoted_ends.first().filter(|_| matches!(call, ToolCall::Malformed { .. }))
        else {
            self.events.push(AnswerEvent::ToolCall(call));
            self.enter(Part::Content);
            return false;
        };
        let (raw, rest) = raw.split_at(*end);
        self.events.push(AnswerEvent::ToolCall(ToolCall::read(raw)));
        self.enter(Part::Content);
        rest[CALL_END.len()..].chars().for_each(|char| self.step(char));
        true
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
