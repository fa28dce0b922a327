//! Measures vision towers of true size with random weights.
//!
//! ```text
//! cargo bench -p qwen-queue-engine --bench vision                        Qwen3-VL-2B and Qwen3.5-0.8B
//! cargo bench -p qwen-queue-engine --bench vision -- qwen2.5-vl 1024     one tower, images of 1,024 tokens
//! ```
//!
//! Prints the time of an image: decoded and resized, then encoded.
#![allow(clippy::print_stdout, missing_docs)]

use std::error::Error;
use std::io::Cursor;
use std::time::Instant;

use engine::vision::tower::TowerWorkspace;
use engine::vision::{ImageLimits, Patches, PixelRange, Precision, Tower, TowerSpec, decode};
use engine::vision::{resample::resize, size::image_size};

const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let names = match arguments.first() {
        Some(name) => vec![name.as_str()],
        None => vec!["qwen3.5-0.8b", "qwen3-vl-2b"],
    };
    let sizes = match arguments.get(1) {
        Some(tokens) => vec![tokens.parse()?],
        None => vec![256, 1024],
    };
    println!("{} threads", engine::bench::threads());
    for name in names {
        let spec = TowerSpec::of_name(name, 2048).ok_or("unknown tower")?;
        let tower = Tower::random(spec, Precision::EightBit)?;
        println!("{name}: {} MiB of weights", tower.weight_bytes() >> 20);
        for tokens in &sizes {
            measure(&tower, *tokens)?;
        }
    }
    Ok(())
}

fn measure(tower: &Tower, tokens: u64) -> Result<(), Box<dyn Error>> {
    let spec = tower.spec();
    // Images of 1080 rows, resized to squares of `tokens` tokens.
    let image = image::RgbImage::from_fn(1080, 1080, |x, y| {
        image::Rgb([(x * y / 97) as u8, (x / 5) as u8, (y ^ x) as u8])
    });
    let mut jpeg = Cursor::new(Vec::new());
    image.write_to(&mut jpeg, image::ImageFormat::Jpeg)?;
    let area = tokens * u64::from(spec.token_side()).pow(2);
    let range = PixelRange { min: area, max: area };
    let mut workspace = TowerWorkspace::default();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let image = decode(jpeg.get_ref(), &ImageLimits::default())?;
        let decoded = begin.elapsed();
        let (height, width) = image_size(image.height, image.width, spec.token_side(), range)?;
        let patches = Patches::new(&[&resize(&image, width, height)], spec);
        let prepared = begin.elapsed();
        let encoded = tower.encode(&patches, &mut workspace)?;
        let all = begin.elapsed();
        println!(
            "  {:>5} tokens: {:>6.0} ms decoded, {:>6.0} ms resized, {:>7.0} ms encoded",
            encoded.rows.len() / spec.out,
            decoded.as_secs_f64() * 1e3,
            (prepared - decoded).as_secs_f64() * 1e3,
            (all - prepared).as_secs_f64() * 1e3,
        );
    }
    Ok(())
}
