//! Reads an answer as a skill does and draws it, without a model: makes the pictures of docs/SKILLS.md.
//!
//! ```sh
//! cargo run -p qwen-queue-skills --features draw --example annotate -- OUTPUT SCALE image.png answer.txt drawn.png [ACTION…]
//! ```
#![allow(clippy::print_stdout)] // prints the value

use std::error::Error;
use std::fs;

use protocol::{SkillOutput, SkillUse, VisionFamily};
use skills::draw::{Colors, Limits, Raster, draw};
use skills::marks::Picture;
use skills::read::{Answer, read};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [output, scale, image, answer, drawn, actions @ ..] = &*arguments else {
        return Err("expected OUTPUT SCALE IMAGE ANSWER DRAWN [ACTION…]".into());
    };
    let output = SkillOutput::ALL.into_iter().find(|kind| kind.as_str() == output);
    let skill = SkillUse {
        name: "example".to_owned(),
        output: output.ok_or("no such output")?,
        scale: scale.parse()?,
        actions: actions.to_vec(),
        draw: true,
        command: None,
    };
    let rgb = image::open(image)?.to_rgb8();
    let size = rgb.dimensions();
    let text = fs::read_to_string(answer)?;
    let answer = Answer { text: &text, calls: &[], is_cut: false };
    let reading = read(&answer, &skill, VisionFamily::Qwen3Vl, &[Picture { size, seen: size }]);
    println!("{:#}", serde_json::json!(reading.structured));
    reading.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    let raster = Raster { width: size.0, height: size.1, rgb: rgb.into_raw() };
    let colors = Colors::of(&reading.marks);
    let drawing = draw(raster, 0, &reading.marks, &colors, &Limits::default())?;
    fs::write(drawn, drawing.png)?;
    Ok(())
}
