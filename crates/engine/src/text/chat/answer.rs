//! Splits an answer into reasoning (`<think>`), text and function calls (`<tool_call>`), in the formats of the
//! Qwen families, while it is generated. A call is JSON, or tags within its tag; each call tells which.

use chat::{Part, Tool, ToolCall};

use super::call::{self, StringScan};
use super::tagged_call;

/// The tag that opens reasoning.
pub(crate) const THINK: &str = "<think>";
/// The tag that closes it.
pub(crate) const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

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
    /// The functions that may be called, whose schemas give texts their types.
    tools: Vec<Tool>,
    part: Section,
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
    events: Vec<Part>,
}

/// The current part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
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
            tools: Vec::new(),
            part: if begins { Section::Reasoning } else { Section::Beginning },
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

    /// Sets the functions that may be called. Their schemas give the arguments of calls in tags their types.
    pub fn with_tools(self, tools: &[Tool]) -> Self {
        Self { tools: tools.to_vec(), ..self }
    }

    /// Appends the next piece of the answer, and returns the events that are certain. Adjacent events differ in
    /// kind, except for calls.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        text.chars().for_each(|char| self.step(char));
        std::mem::take(&mut self.events)
    }

    /// Ends the answer: returns held-back text, including an unclosed call.
    pub fn finish(mut self) -> Vec<Part> {
        loop {
            let tag = std::mem::take(&mut self.tag);
            tag.chars().for_each(|char| self.text(char));
            if self.part != Section::Call || !self.end_call(false) {
                break;
            }
        }
        match self.part {
            Section::Call => {}
            Section::Reasoning => {}
            // White space at the end belongs to the answer.
            Section::Beginning | Section::Content if self.begun || !self.after_tag => {
                let space = std::mem::take(&mut self.space);
                self.tell(&space);
            }
            Section::Beginning | Section::Content => {}
        }
        self.events
    }

    /// Returns the tags that are recognized in the current part.
    fn tags(&self) -> &'static [&'static str] {
        match (self.part, self.format.reasoning, self.format.tools) {
            (Section::Reasoning, ..) => &[THINK_END],
            (Section::Call, ..) => &[CALL_END],
            (Section::Beginning, true, true) => &[THINK, CALL],
            (Section::Beginning, true, false) => &[THINK],
            (Section::Beginning | Section::Content, _, true) => &[CALL],
            (Section::Beginning | Section::Content, _, false) => &[],
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
        if tag == CALL_END && self.is_inside_value() {
            self.quoted_ends.push(self.call.len());
            return tag.chars().for_each(|char| self.text(char));
        }
        let next = match tag {
            THINK => Section::Reasoning,
            CALL => Section::Call,
            _ => Section::Content,
        };
        if self.part == Section::Call && self.end_call(true) {
            // The call had ended before, and this tag may end another.
            return tag.chars().for_each(|char| self.step(char));
        }
        self.enter(next);
    }

    /// Whether the call so far ends inside a string, where a tag is text.
    fn is_inside_value(&self) -> bool {
        self.strings.is_open()
            || tagged_call::is_tagged(&self.call) && tagged_call::ends_inside_value(&self.call)
    }

    /// Starts a part after a tag.
    fn enter(&mut self, part: Section) {
        self.space.clear();
        (self.part, self.begun, self.after_tag) = (part, false, true);
    }

    fn text(&mut self, char: char) {
        if self.part == Section::Call {
            self.call.push(char);
            self.strings.push(char);
        } else if char.is_whitespace() {
            self.space.push(char);
        } else {
            if self.part == Section::Beginning {
                self.part = Section::Content;
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
            (Section::Reasoning, Some(Part::Reasoning { text: told }))
            | (Section::Beginning | Section::Content, Some(Part::Text { text: told })) => {
                told.push_str(text);
            }
            _ if text.is_empty() => {}
            (Section::Reasoning, _) => self.events.push(Part::Reasoning { text: text.to_owned() }),
            _ => self.events.push(Part::Text { text: text.to_owned() }),
        }
    }

    /// Emits the call that has ended. An invalid call may have an unclosed quote or parameter, so that its closing tag seemed
    /// to be inside a string: then the call ends at that tag, the text after it is parsed again, and this returns
    /// true.
    fn end_call(&mut self, is_closed: bool) -> bool {
        let raw = std::mem::take(&mut self.call);
        let quoted_ends = std::mem::take(&mut self.quoted_ends);
        self.strings = StringScan::default();
        let call = call::read(&raw, &self.tools, is_closed);
        let Some(end) = quoted_ends.first().filter(|_| matches!(call, ToolCall::Malformed { .. }))
        else {
            self.events.push(Part::ToolCall { call });
            self.enter(Section::Content);
            return false;
        };
        let (raw, rest) = raw.split_at(*end);
        self.events.push(Part::ToolCall { call: call::read(raw, &self.tools, true) });
        self.enter(Section::Content);
        rest[CALL_END.len()..].chars().for_each(|char| self.step(char));
        true
    }
}

#[cfg(test)]
mod tests;
