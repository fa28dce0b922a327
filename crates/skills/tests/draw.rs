//! Draws marks, and looks at the pixels.
#![allow(clippy::unwrap_used)] // in helpers too

use std::path::Path;

use skills::draw::{Colors, DrawError, Drawing, Limits, Raster, draw};
use skills::marks::{Mark, Shape};

const GREY: [u8; 3] = [128, 128, 128];

fn plain(width: u32, height: u32) -> Raster {
    Raster { width, height, rgb: GREY.repeat(width as usize * height as usize) }
}

fn mark(shape: Shape, label: Option<&str>) -> Mark {
    Mark { picture: 0, shape, label: label.map(str::to_owned) }
}

fn drawn(image: Raster, marks: &[Mark]) -> (Drawing, Raster) {
    let drawing = draw(image, 0, marks, &Colors::of(marks), &Limits::default()).unwrap();
    let pixels = read(&drawing.png);
    assert_eq!((pixels.width, pixels.height), drawing.size);
    (drawing, pixels)
}

fn read(png: &[u8]) -> Raster {
    let image = image::load_from_memory_with_format(png, image::ImageFormat::Png).unwrap();
    let rgb = image.into_rgb8();
    Raster { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() }
}

fn at(image: &Raster, x: u32, y: u32) -> [u8; 3] {
    let start = (y * image.width + x) as usize * 3;
    image.rgb[start..start + 3].try_into().unwrap()
}

/// Returns the bounds of the pixels that are not grey: left, top, right, bottom, all inclusive.
fn changed(image: &Raster) -> Option<[u32; 4]> {
    let all = (0..image.height).flat_map(|y| (0..image.width).map(move |x| (x, y)));
    all.filter(|(x, y)| at(image, *x, *y) != GREY).fold(None, |bounds, (x, y)| {
        let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
        Some([left.min(x), top.min(y), right.max(x), bottom.max(y)])
    })
}

fn is_near([left, top, right, bottom]: [u32; 4], expected: [u32; 4], most: u32) -> bool {
    [left, top, right, bottom].iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= most)
}

#[test]
fn lines_are_where_the_marks_are_and_nowhere_else() {
    let (_, image) = drawn(plain(800, 600), &[mark(Shape::Box([100.0, 50.0, 300.0, 250.0]), None)]);
    let red = at(&image, 100, 150);
    assert!(red[0] > 200 && red[1] < 60, "{red:?}");
    for (x, y) in [(200, 50), (299, 100), (200, 249), (100, 50), (299, 249)] {
        assert_eq!(at(&image, x, y), red, "{x} {y}");
    }
    // The inside is untouched, and the edge on both sides has the other color.
    assert_eq!(at(&image, 200, 150), GREY);
    let row: Vec<u8> = (90..110).map(|x| at(&image, x, 150)[1]).collect();
    assert!(
        row[..9].iter().any(|green| *green > 200) && row[11..].iter().any(|green| *green > 200)
    );
    let bounds = changed(&image).unwrap();
    assert!(is_near(bounds, [100, 50, 300, 250], 4), "{bounds:?}");

    let (_, image) = drawn(plain(800, 600), &[mark(Shape::Point([400.0, 300.0]), None)]);
    assert_eq!(at(&image, 400, 300), red);
    let [left, top, right, bottom] = changed(&image).unwrap();
    assert!(left > 390 && top > 290 && right < 410 && bottom < 310);
    assert_eq!((400 - left, 300 - top), (right - 399, bottom - 299), "round");

    let corners = vec![[100.0, 100.0], [500.0, 100.0], [300.0, 400.0]];
    let (_, image) = drawn(plain(800, 600), &[mark(Shape::Polygon(corners), None)]);
    for (x, y) in [(300, 100), (200, 250), (400, 250)] {
        let near = at(&image, x, y).iter().zip(red).all(|(a, b)| a.abs_diff(b) < 20);
        assert!(near, "{x} {y}: {:?}", at(&image, x, y));
    }
    assert_eq!(at(&image, 300, 200), GREY);

    let arrow = Shape::Arrow([[100.0, 300.0], [500.0, 300.0]]);
    let (_, image) = drawn(plain(800, 600), &[mark(arrow, None)]);
    assert_eq!((at(&image, 150, 300), at(&image, 500, 300)), (red, red));
    let tall = |x: u32| (0..600).filter(|y| at(&image, x, *y) != GREY).count();
    assert!(tall(493) > tall(150) + 4, "it has a head at its end: {} {}", tall(493), tall(150));
}

#[test]
fn marks_of_other_pictures_are_not_drawn_but_keep_their_colors() {
    let marks = [
        Mark { picture: 1, ..mark(Shape::Point([10.0, 10.0]), Some("a")) },
        Mark { picture: 0, ..mark(Shape::Point([300.0, 300.0]), Some("b")) },
        Mark { picture: 1, ..mark(Shape::Point([300.0, 300.0]), Some("b")) },
    ];
    let colors = Colors::of(&marks);
    let color = |picture: usize| {
        let drawing = draw(plain(600, 600), picture, &marks, &colors, &Limits::default()).unwrap();
        let image = read(&drawing.png);
        (at(&image, 300, 300), at(&image, 10, 10))
    };
    let (first, second) = (color(0), color(1));
    assert_eq!(first.0, second.0);
    assert_eq!(first.1, GREY);
    assert!(second.1 != GREY && second.1 != second.0);
}

#[test]
fn labels_are_inside_the_image_and_not_on_each_other() {
    // Nine points in one place, and a box at each corner of the image.
    let mut marks: Vec<Mark> = (0..9)
        .map(|n| mark(Shape::Point([400.0, 300.0]), Some(&"m".repeat(n % 4 + 6 + n))))
        .collect();
    for [x, y] in [[0.0, 0.0], [760.0, 0.0], [0.0, 560.0], [760.0, 560.0]] {
        marks.push(mark(Shape::Box([x, y, x + 40.0, y + 40.0]), Some("corner")));
    }
    let (_, together) = drawn(plain(800, 600), &marks);
    let colors = Colors::of(&marks);
    let count = |image: &Raster, color: [u8; 3]| {
        image.rgb.chunks_exact(3).filter(|pixel| *pixel == color).count()
    };
    for place in 0..9 {
        let alone = draw(plain(800, 600), 0, &marks[place..=place], &colors, &Limits::default());
        let alone = read(&alone.unwrap().png);
        // The color is that in the middle of the point.
        let color = at(&alone, 400, 300);
        let (kept, whole) = (count(&together, color), count(&alone, color));
        // The points themselves hide each other.
        assert!(whole > 1_000 && kept + 60 > whole, "label {place}: {kept} of {whole}");
    }
    // The labels at the corners are whole, too.
    let corner = at(&together, 40, 20);
    let one = draw(plain(800, 600), 0, &marks[9..10], &colors, &Limits::default()).unwrap();
    assert!(count(&together, corner) + 20 > 4 * count(&read(&one.png), corner));
}

#[test]
fn hostile_marks_do_not_panic() {
    let values =
        [0.0, 0.5, 1.0, 10.0, 19_999.5, 20_000.0, -5.0, 1e300, f64::NAN, f64::NEG_INFINITY];
    let label = "中文 \u{1b}[2J\u{202e} 🦀 a very long label that never ends, on and on and on";
    let mut marks = Vec::new();
    for x in values {
        for y in values {
            marks.push(mark(Shape::Box([x, y, y, x]), Some(label)));
            marks.push(mark(Shape::Point([x, y]), Some("")));
            marks.push(mark(Shape::Arrow([[x, y], [y, x]]), Some("a")));
            marks.push(mark(Shape::Polygon(vec![[x, y]; 3]), Some("p")));
        }
    }
    marks.push(mark(Shape::Polygon(vec![]), Some("nothing")));
    marks.push(mark(Shape::Polygon(vec![[1.0, 1.0]]), Some("a corner")));
    for (size, expected) in [
        ((1, 1), (480, 480)),
        ((20_000, 10), (2_048, 1)),
        ((10, 20_000), (1, 2_048)),
        ((3, 7), (204, 476)),
        ((2_049, 300), (2_048, 300)),
    ] {
        let (drawing, _) = drawn(plain(size.0, size.1), &marks);
        assert_eq!(drawing.size, expected);
    }
}

#[test]
fn too_much_is_left_out_with_a_warning() {
    let boxes: Vec<Mark> = (0..1_001)
        .map(|n| mark(Shape::Box([0.0, 0.0, 400.0, 400.0]), Some(&n.to_string())))
        .collect();
    let (drawing, _) = drawn(plain(400, 400), &boxes);
    assert_eq!(drawing.warnings, ["1000 of 1001 marks are drawn"]);
    // One polygon whose lines cross the image 100,000 times.
    let zigzag = (0..100_000).map(|n| [f64::from(n % 2) * 400.0, 0.0]).collect();
    let began = std::time::Instant::now();
    let marks = [mark(Shape::Polygon(zigzag), None), mark(Shape::Point([200.0, 200.0]), None)];
    let (drawing, image) = drawn(plain(400, 400), &marks);
    assert_eq!(drawing.warnings, ["1 marks are not drawn: their lines are too long together"]);
    assert_ne!(at(&image, 200, 200), GREY);
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn a_large_file_is_reduced_and_its_marks_with_it() {
    let (width, height) = (900, 600);
    // Noise, which no format compresses.
    let mut state = 1_u32;
    let rgb = (0..width * height * 3)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 / 2
        })
        .collect();
    let image = Raster { width, height, rgb };
    let marks = [mark(Shape::Box([450.0, 0.0, 900.0, 600.0]), None)];
    let limits = Limits { max_bytes: 200_000, ..Limits::default() };
    let drawing = draw(image.clone(), 0, &marks, &Colors::of(&marks), &limits).unwrap();
    assert!(drawing.png.len() <= 200_000 && drawing.png.len() > 50_000, "{}", drawing.png.len());
    assert!(drawing.size.0.abs_diff(drawing.size.1 * 3 / 2) <= 1, "{:?}", drawing.size);
    let small = read(&drawing.png);
    let middle = small.width / 2;
    let row: Vec<[u8; 3]> = (0..small.width).map(|x| at(&small, x, small.height / 2)).collect();
    let is_red = |pixel: &[u8; 3]| pixel[0] > 220 && pixel[2] > 60 && pixel[2] < 180;
    let lines: Vec<usize> = (0..row.len()).filter(|x| is_red(&row[*x])).collect();
    assert!(lines.iter().any(|x| x.abs_diff(middle as usize) <= 1), "{lines:?}");
    assert!(lines.iter().all(|x| *x + 1 >= middle as usize), "{lines:?}");
    let none = Limits { max_bytes: 20, ..limits };
    let refused = draw(image, 0, &marks, &Colors::of(&marks), &none);
    assert!(matches!(refused, Err(DrawError::TooLarge { most: 20 })), "{refused:?}");
    let torn = Raster { width: 2, height: 2, rgb: vec![0; 11] };
    let refused = draw(torn, 0, &marks, &Colors::of(&marks), &limits);
    assert!(matches!(refused, Err(DrawError::Size { bytes: 11, .. })), "{refused:?}");
}

/// A picture with all kinds of marks, on bright, dark and colored ground. It was looked at.
#[test]
fn a_picture_equals_the_golden_one() {
    let (width, height) = (960_u32, 640_u32);
    let mut rgb = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let stripe = [[250, 250, 250], [15, 15, 20], [230, 30, 70], [60, 120, 190]];
            let [r, g, b]: [u8; 3] = stripe[(x * 4 / width) as usize];
            let shade = (y * 40 / height) as u8;
            rgb.extend([r.saturating_sub(shade), g.saturating_sub(shade), b.saturating_sub(shade)]);
        }
    }
    let area = |left, top, right, bottom| Shape::Box([left, top, right, bottom]);
    let marks = [
        mark(area(40.0, 60.0, 220.0, 200.0), Some("cat")),
        mark(area(60.0, 90.0, 240.0, 230.0), Some("dog")),
        mark(area(40.0, 60.0, 220.0, 200.0), Some("also a cat")),
        mark(area(300.0, 60.0, 460.0, 200.0), Some("cat")),
        mark(area(520.0, 60.0, 700.0, 200.0), Some("cat")),
        mark(area(740.0, 60.0, 930.0, 200.0), Some("собака, σκύλος, chien")),
        mark(area(0.0, 0.0, 960.0, 640.0), Some("all")),
        mark(Shape::Point([120.0, 320.0]), Some("point")),
        mark(Shape::Point([360.0, 320.0]), Some("点 \u{7}(CJK)")),
        mark(Shape::Point([600.0, 320.0]), Some("point")),
        mark(Shape::Point([840.0, 320.0]), None),
        mark(Shape::Arrow([[120.0, 420.0], [840.0, 520.0]]), Some("drag")),
        mark(
            Shape::Polygon(vec![[420.0, 380.0], [560.0, 400.0], [600.0, 560.0], [380.0, 540.0]]),
            Some("Ein Schild, dessen Aufschrift niemals endet, weil sie so lang ist"),
        ),
        mark(area(700.0, 600.0, 940.0, 632.0), Some("at the lower edge")),
    ];
    let (_, image) = drawn(Raster { width, height, rgb }, &marks);
    equals_golden("marks.png", &image);
}

/// A small picture, which is enlarged, with lines of text that leave little room. It was looked at.
#[test]
fn a_small_picture_equals_the_golden_one() {
    let (width, height) = (96_u32, 64_u32);
    let mut image = Raster { width, height, rgb: vec![235; (width * height * 3) as usize] };
    for y in (0..6).map(|line| 4 + 10 * line) {
        for (x, row) in (8..80).flat_map(|x| (y..y + 5).map(move |row| (x, row))) {
            let start = ((row * width + x) * 3) as usize;
            image.rgb[start..start + 3].fill(if x % 3 == 0 { 220 } else { 60 });
        }
    }
    let marks: Vec<Mark> = (0..6)
        .map(|line| {
            let top = 3.0 + 10.0 * f64::from(line);
            let edges = Shape::Box([7.0, top, 81.0, top + 7.0]);
            mark(edges, Some(&format!("line {line} of the text")))
        })
        .chain([mark(Shape::Point([88.0, 60.0]), Some("click"))])
        .collect();
    let (_, image) = drawn(image, &marks);
    assert_eq!((image.width, image.height), (480, 320));
    equals_golden("small.png", &image);
}

/// Compares with a file of `golden`; writes what was drawn beside the build.
fn equals_golden(name: &str, image: &Raster) {
    let (width, height) = (image.width, image.height);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    image::save_buffer(&own, &image.rgb, width, height, image::ExtendedColorType::Rgb8).unwrap();
    let golden = read(&std::fs::read(golden).unwrap_or_else(|_| panic!("see {}", own.display())));
    assert_eq!((golden.width, golden.height), (width, height));
    // Processors may round the edges of lines differently.
    let differ = golden.rgb.iter().zip(&image.rgb).filter(|(a, b)| a.abs_diff(**b) > 2).count();
    assert!(differ < 50, "{differ} values differ: see {}", own.display());
}
