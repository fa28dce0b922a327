//! Measures the encoding of images by towers of published sizes.

use std::error::Error;
use std::io::Cursor;

use engine::vision::tower::TowerWorkspace;
use engine::vision::{ImageLimits, Patches, PixelRange, Precision, Tower, TowerSpec, decode};
use engine::vision::{resample::resize, size::image_size};

use super::clock::Clock;

const ROUNDS: usize = 3;

/// Prints the time of images: decoded, resized, encoded.
pub(crate) fn measure(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let names = match arguments.first() {
        Some(name) => vec![*name],
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
            encode(&tower, *tokens)?;
        }
    }
    Ok(())
}

fn encode(tower: &Tower, tokens: u64) -> Result<(), Box<dyn Error>> {
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
        let clock = Clock::start();
        let image = decode(jpeg.get_ref(), &ImageLimits::default())?;
        let [decoded, _] = clock.seconds();
        let clock = Clock::start();
        let (height, width) = image_size(image.height, image.width, spec.token_side(), range)?;
        let patches = Patches::new(&[&resize(&image, width, height)], spec);
        let [resized, _] = clock.seconds();
        let clock = Clock::start();
        let encoded = tower.encode(&patches, &mut workspace)?;
        let [wall, cpu] = clock.seconds();
        println!(
            "  {:>5} tokens: {:>5.0} ms decoded, {:>5.0} ms resized, {wall:>6.2} s encoded, {cpu:>6.2} processor seconds",
            encoded.rows.len() / spec.out,
            decoded * 1e3,
            resized * 1e3,
        );
    }
    Ok(())
}
