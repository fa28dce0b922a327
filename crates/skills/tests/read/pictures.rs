//! Which image the coordinates of an answer are on.

use protocol::{SkillOutput, VisionFamily};
use skills::marks::{Mark, Picture, Shape};

use crate::check::read_of;

const PICTURES: [Picture; 2] = [
    Picture { size: (1000, 1000), seen: (1008, 1008) },
    Picture { size: (3000, 4000), seen: (1932, 2576) },
];

#[test]
fn items_name_their_image_by_its_index() {
    let text = r#"[
        {"bbox_2d": [0, 0, 500, 500], "label": "a"},
        {"bbox_2d": [0, 0, 500, 500], "label": "b", "image": 1},
        {"point_2d": [500, 500], "label": "c", "img_idx": 1},
        {"bbox_2d": [0, 0, 500, 500], "label": "d", "image_index": 2},
        {"bbox_2d": [0, 0, 500, 500], "label": "e", "image": "1.png"}
    ]"#;
    let reading = read_of(SkillOutput::Boxes, text, VisionFamily::Qwen3Vl, &PICTURES);
    let mark = |picture, shape, label: &str| Mark { picture, shape, label: Some(label.into()) };
    assert_eq!(
        reading.marks,
        [
            mark(0, Shape::Box([0.0, 0.0, 500.0, 500.0]), "a"),
            mark(1, Shape::Box([0.0, 0.0, 1500.0, 2000.0]), "b"),
            mark(1, Shape::Point([1500.0, 2000.0]), "c"),
            mark(0, Shape::Box([0.0, 0.0, 500.0, 500.0]), "e"),
        ]
    );
    assert_eq!(reading.warnings, ["item 3 names an image that the prompt does not have"]);
    let structured = reading.structured.unwrap();
    assert_eq!(structured.as_array().unwrap().len(), 5);
    assert!(structured[3].get("pixels").is_none());
}

#[test]
fn a_page_as_qwen25_sees_it_comes_back_within_a_pixel() {
    for (x, y) in [(0, 0), (1, 1), (966, 1288), (1931, 2575), (1932, 2576)] {
        let text = format!(r#"[{{"bbox_2d": [{x}, {y}, 1932, 2576]}}]"#);
        let reading = read_of(SkillOutput::Boxes, &text, VisionFamily::Qwen25Vl, &PICTURES[1..]);
        let Shape::Box([left, top, right, bottom]) = reading.marks[0].shape else { panic!() };
        let exact = |value: i32, size: f64, seen: f64| f64::from(value) / seen * size;
        assert!((left - exact(x, 3000.0, 1932.0)).abs() < 1e-9);
        assert!((top - exact(y, 4000.0, 2576.0)).abs() < 1e-9);
        assert_eq!((right, bottom), (3000.0, 4000.0));
    }
}

#[test]
fn actions_are_on_the_newest_screenshot() {
    let text = r#"{"action": "swipe", "coordinate": [500, 500], "coordinate2": [500, 0]}"#;
    let reading = read_of(SkillOutput::Actions, text, VisionFamily::Qwen3Vl, &PICTURES);
    let arrow = Shape::Arrow([[1500.0, 2000.0], [1500.0, 0.0]]);
    assert_eq!(reading.marks, [Mark { picture: 1, shape: arrow, label: Some("swipe".into()) }]);
    let drag = r#"{"action": "drag", "start_coordinate": [0, 0], "coordinate": [500, 500]}"#;
    let reading = read_of(SkillOutput::Actions, drag, VisionFamily::Qwen3Vl, &PICTURES[..1]);
    assert_eq!(reading.marks[0].shape, Shape::Arrow([[0.0, 0.0], [500.0, 500.0]]));
}

#[test]
fn without_images_the_raw_coordinates_remain() {
    let text = r#"[{"bbox_2d": [0, 0, 500, 500], "label": "a"}]"#;
    let reading = read_of(SkillOutput::Boxes, text, VisionFamily::Qwen3Vl, &[]);
    assert!(reading.marks.is_empty());
    assert_eq!(reading.structured, Some(serde_json::from_str(text).unwrap()));
    assert_eq!(
        reading.warnings,
        ["the prompt has no image, so coordinates are not mapped to pixels"]
    );
}

#[test]
fn text_loses_a_fence_around_it_only() {
    for (text, plain) in [
        ("  Hello.\n", "Hello."),
        ("```\nHello.\n```", "Hello."),
        ("```text\nHello.\n```", "Hello."),
        ("<think>\nhm\n</think>\n\nHello.<|im_end|>", "Hello."),
        ("Run:\n```sh\nls\n```", "Run:\n```sh\nls\n```"),
        ("```python\nprint(1)\n```", "```python\nprint(1)\n```"),
        ("", ""),
    ] {
        let reading = read_of(SkillOutput::Text, text, VisionFamily::Qwen3Vl, &[]);
        assert_eq!(reading.structured, Some(plain.into()), "{text:?}");
        assert!(reading.warnings.is_empty());
    }
}
