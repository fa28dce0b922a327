//! Splits an answer into reasoning (`<think>`), text and calls of functions (`<tool_call>`), as the Qwen
//! families write them, while it is generated.

use super::call::StringScan;
pub use super::call::ToolCall;

/// What opens reasoning.
pub(crate) const THINK: &str = "<think>";
/// What ends it.
pub(crate) const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerEvent {
    /// More of what the model thought before it answered.
    Reasoning(String),
    /// More of the answer itself.
    Content(String),
    /// A whole call of a function.
    ToolCall(ToolCall),
}

/// What an answer may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerFormat {
    /// Reasoning is told apart.
    pub reasoning: bool,
    /// The prompt ended with `<think>`: the answer begins within it.
    pub begins_in_reasoning: bool,
    /// Calls of functions are told apart.
    pub tools: bool,
}

/// Tells the parts of an answer apart, however it is cut into pieces.
///
/// Reasoning may only come first. White space beside a tag is dropped, all else is told as it came.
#[derive(Debug, Clone)]
pub struct AnswerParser {
    format: AnswerFormat,
    part: Part,
    /// What may become a tag.
    tag: String,
    /// White space that is told if text follows it.
    space: String,
    /// Text of the current part was told.
    begun: bool,
    /// A tag came before the current part.
    after_tag: bool,
    /// What stands in a call so far.
    call: String,
    /// Whether a JSON string is open at its end.
    strings: StringScan,
    /// Where in it a tag stands that ends calls, but within a string.
    quoted_ends: Vec<usize>,
    events: Vec<AnswerEvent>,
}

/// Where in an answer one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before anything else.
    Beginning,
    Reasoning,
    Content,
    Call,
}

impl AnswerParser {
    /// At the beginning of an answer.
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

    /// Takes the next piece of the answer; what is certain now. Neighbours differ in kind, but for
    /// calls.
    pub fn push(&mut self, text: &str) -> Vec<AnswerEvent> {
        text.chars().for_each(|char| self.step(char));
        std::mem::take(&mut self.events)
    }

    /// The end of the answer: what was held back, a call that was not closed included.
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
            // White space at the end is the answer's own.
            Part::Beginning | Part::Content if self.begun || !self.after_tag => {
                let space = std::mem::take(&mut self.space);
                self.tell(&space);
            }
            Part::Beginning | Part::Content => {}
        }
        self.events
    }

    /// The tags that count here.
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
            // Tags have their `<` in front only, so no tag begins within what was held.
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

    /// A tag came that counts here.
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
            // It had ended before, and this may end another.
            return tag.chars().for_each(|char| self.step(char));
        }
        self.enter(next);
    }

    /// Begins a part behind a tag.
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

    /// Tells the call that has ended. One that is none may owe it to a quote that nothing closes, by which
    /// the tag that ended it stood within a string: then it ends there, what follows is looked at again,
    /// and the answer is true.
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
