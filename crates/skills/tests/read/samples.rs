//! The recorded answers, which scripts/skills/make_answers.py writes.

use protocol::{SkillOutput, SkillUse, ToolCall, VisionFamily};
use serde::Deserialize;
use serde_json::Value;
use skills::marks::Picture;
use skills::read::{Answer, Reading, read};

/// An answer with what must come of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sample {
    pub(crate) note: String,
    pub(crate) family: VisionFamily,
    pub(crate) size: (u32, u32),
    pub(crate) seen: (u32, u32),
    #[serde(default = "usual_scale")]
    pub(crate) scale: u32,
    #[serde(default)]
    pub(crate) actions: Vec<String>,
    #[serde(default)]
    pub(crate) calls: Vec<ToolCall>,
    #[serde(default)]
    pub(crate) cut: bool,
    pub(crate) text: String,
    pub(crate) structured: Value,
    pub(crate) warnings: Vec<String>,
}

fn usual_scale() -> u32 {
    SkillUse::SCALE
}

impl Sample {
    pub(crate) fn picture(&self) -> Picture {
        Picture { size: self.size, seen: self.seen }
    }

    /// Reads a text in the place of the sample's.
    pub(crate) fn read(&self, output: SkillOutput, text: &str) -> Reading {
        let skill = SkillUse {
            name: "sample".into(),
            output,
            scale: self.scale,
            actions: self.actions.clone(),
            draw: false,
            command: None,
        };
        let answer = Answer { text, calls: &self.calls, is_cut: self.cut };
        read(&answer, &skill, self.family, &[self.picture()])
    }
}

/// Returns the samples of a parser.
pub(crate) fn of(output: SkillOutput) -> Vec<Sample> {
    let name = output.as_str();
    let path = format!("{}/tests/answers/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(&path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The kinds of output that have recorded answers.
pub(crate) const OUTPUTS: [SkillOutput; 7] = [
    SkillOutput::Boxes,
    SkillOutput::Points,
    SkillOutput::Html,
    SkillOutput::Markdown,
    SkillOutput::Events,
    SkillOutput::Actions,
    SkillOutput::Json,
];
