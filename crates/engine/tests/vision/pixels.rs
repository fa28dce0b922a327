//! Pixels against torchvision's processors.

use engine::vision::size::image_size;
use engine::vision::{Grid, ImageLimits, Patches, PixelRange, TowerSpec, decode, resample::resize};

use super::{folder, number, numbers, truth};

fn spec(family: &str) -> TowerSpec {
    let name = if family == "qwen2vl" { "qwen2-vl" } else { "qwen3-vl-2b" };
    TowerSpec::of_name(name, 64).unwrap()
}

#[test]
fn pixels_grids_and_tokens_equal_the_processors() {
    let truth = truth();
    let cases = truth["images"].as_array().unwrap();
    assert!(cases.len() >= 30);
    for case in cases {
        let file = case["file"].as_str().unwrap();
        let read = |name: &str| std::fs::read(folder().join("images").join(name)).unwrap();
        let limits = ImageLimits::default();
        let image = decode(&read(file), &limits).unwrap();
        let expected = decode(&read(case["expected"].as_str().unwrap()), &limits).unwrap();
        let spec = spec(case["family"].as_str().unwrap());
        let range = PixelRange {
            min: number(&case["min_pixels"]) as u64,
            max: number(&case["max_pixels"]) as u64,
        };
        let (height, width) =
            image_size(image.height, image.width, spec.token_side(), range).unwrap();
        assert_eq!((width, height), (expected.width, expected.height), "{file}");
        let resized = resize(&image, width, height);
        let off = resized.rgb.iter().zip(&expected.rgb).map(|(a, b)| a.abs_diff(*b));
        let (largest, sum) =
            off.fold((0, 0u64), |(most, sum), off| (most.max(off), sum + u64::from(off)));
        let mean = sum as f64 / resized.rgb.len() as f64;
        println!("{file}: {largest} levels at most, {mean:.4} in the mean");
        let patches = Patches::new(&[&resized], &spec);
        let [time, rows, columns] = numbers(&case["grid"])[..] else { panic!("{file}") };
        assert_eq!(patches.grid, Grid { time, height: rows, width: columns }, "{file}");
        let merged = patches.grid.merged(spec.merge);
        assert_eq!(merged.patches(), number(&case["tokens"]), "{file}");
        if file.ends_with(".jpg") {
            // Decoders of JPEG round differently, and ours interpolates halved colors differently.
            let subsampled = ["420", "progressive", "turned"].iter().any(|of| file.contains(of));
            let (most, allowed) = if subsampled { (10, 0.5) } else { (2, 0.1) };
            assert!(largest <= most && mean <= allowed, "{file}: {largest}, {mean}");
            continue;
        }
        assert_eq!(largest, 0, "{file}");
        for sample in case["samples"].as_array().unwrap() {
            let (at, value) = (number(&sample[0]), sample[1].as_f64().unwrap());
            let off = (f64::from(patches.values[at]) - value).abs();
            assert!(off <= 1e-5, "{file}: value {at} is {}, not {value}", patches.values[at]);
        }
    }
}

#[test]
fn sizes_equal_the_processors() {
    for case in truth()["sizes"].as_array().unwrap() {
        let [height, width, factor, min, max, rows, columns] = numbers(case)[..] else { panic!() };
        let range = PixelRange { min: min as u64, max: max as u64 };
        let size = image_size(height as u32, width as u32, factor as u32, range).unwrap();
        assert_eq!(size, (rows as u32, columns as u32), "{case}");
    }
}
