use protocol::{SkillOutput, VisionFamily};
use serde_json::{Map, Value, json};
use skills::registry::built_in_file;
use skills::{Given, Skill, Skills, Written};

const FAMILIES: [VisionFamily; 3] =
    [VisionFamily::Qwen2Vl, VisionFamily::Qwen25Vl, VisionFamily::Qwen3Vl];

fn write(name: &str, family: VisionFamily, prompt: Option<&str>, values: &Value) -> Written {
    let skill = Skills::new(None).find(name).unwrap();
    let values: Map<String, Value> = values.as_object().unwrap().clone();
    let (images, videos) = (skill.images.0, skill.videos.0);
    skill.write(&Given { prompt, values: &values, images, videos, family }).unwrap()
}

#[test]
fn all_built_in_skills_are_as_they_should_be() {
    let names = [
        "chat",
        "computer",
        "describe",
        "document",
        "mobile",
        "ocr",
        "recognize",
        "spatial",
        "video",
    ];
    let all: Vec<String> = Skills::new(None).all().iter().map(|skill| skill.name.clone()).collect();
    assert_eq!(all, names);
    for name in names {
        let skill =
            Skill::parse(built_in_file(name).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(skill.name, name);
        let example = skill.example.as_ref().unwrap_or_else(|| panic!("{name} has no example"));
        assert!(example.answer.is_some(), "{name}");
        let described = skill.describe();
        assert_eq!(described["schema"]["type"], "object", "{described}");
    }
}

#[test]
fn each_family_is_asked_in_its_own_words() {
    let objects = json!({"objects": "cat, dog"});
    let asked = FAMILIES.map(|family| write("spatial", family, None, &objects).user);
    assert!(asked.iter().all(|text| text.contains("cat, dog")), "{asked:?}");
    assert!(asked[0] != asked[1] && asked[1] != asked[2]);
    assert!(asked[2].ends_with("Report bbox coordinates in JSON format."), "{}", asked[2]);
    let documents = FAMILIES.map(|family| write("document", family, None, &json!({})));
    assert_eq!(documents[2].user, "qwenvl html");
    assert_eq!((documents[2].system.as_ref(), documents[1].user.as_str()), (None, "QwenVL HTML"));
    assert!(documents[1].system.as_ref().unwrap().contains("Document Parser HTML"));
}

#[test]
fn fields_determine_the_output() {
    let newest = VisionFamily::Qwen3Vl;
    let output = |name, values| write(name, newest, None, &values).skill.output;
    for (level, expected) in [
        ("page", SkillOutput::Text),
        ("line", SkillOutput::Boxes),
        ("word", SkillOutput::Boxes),
        ("form", SkillOutput::Json),
    ] {
        assert_eq!(output("ocr", json!({"level": level})), expected, "{level}");
    }
    assert_eq!(output("spatial", json!({"objects": "a", "shape": "point"})), SkillOutput::Points);
    assert_eq!(output("video", json!({"task": "find"})), SkillOutput::Events);
    let form =
        write("ocr", newest, None, &json!({"level": "form", "form": {"total": "", "rows": 2}}));
    assert_eq!(
        form.user,
        r#"Extract the key-value information in the format: {"total": "", "rows": 2}"#
    );
}

#[test]
fn agents_name_their_actions_and_the_screen() {
    for (name, scale, in_pixels) in [("computer", 1000, false), ("mobile", 999, true)] {
        let newest = write(name, VisionFamily::Qwen3Vl, Some("open the mail"), &json!({}));
        assert_eq!(newest.skill.scale, scale);
        assert!(newest.user.starts_with("The user query: open the mail."), "{}", newest.user);
        let system = newest.system.unwrap();
        let screen = format!("The screen's resolution is {scale}x{scale}");
        assert!(system.contains(&screen), "{system}");
        assert_eq!(system.contains("Thought:"), in_pixels);
        // The listed tool is JSON, and has the actions that the parser accepts.
        let (_, rest) = system.split_once("<tools>\n").unwrap();
        let tool: Value = serde_json::from_str(rest.split_once("\n</tools>").unwrap().0).unwrap();
        let listed = &tool["function"]["parameters"]["properties"]["action"]["enum"];
        assert_eq!(*listed, json!(newest.skill.actions));
        let older = write(name, VisionFamily::Qwen25Vl, Some("x"), &json!({}));
        assert!(older.system.unwrap().contains("Coordinates are pixels of the screenshot."));
    }
}

#[test]
fn requests_are_refused_by_field() {
    let skill = Skills::new(None).find("ocr").unwrap();
    let values = json!({"level": "letter", "form": 3, "levle": "x"});
    let given = Given {
        prompt: None,
        values: values.as_object().unwrap(),
        images: 0,
        videos: 1,
        family: VisionFamily::Qwen3Vl,
    };
    let problems = skill.write(&given).unwrap_err();
    let said: Vec<(&str, &str)> =
        problems.iter().map(|problem| (problem.field.as_str(), problem.kind)).collect();
    let expected = [
        ("images", "too_short"),
        ("videos", "too_long"),
        ("level", "enum"),
        ("form", "dict_type"),
        ("levle", "extra_forbidden"),
    ];
    assert_eq!(said, expected);
    assert_eq!(problems[0].message, "the skill 'ocr' takes 1 images, the request has 0");
    assert!(problems[2].message.contains("page, line, word, form"));
    let chat = Skills::new(None).find("chat").unwrap();
    let empty = Map::new();
    let given = Given {
        prompt: Some(" "),
        values: &empty,
        images: 0,
        videos: 0,
        family: VisionFamily::Qwen3Vl,
    };
    assert_eq!(chat.write(&given).unwrap_err()[0].field, "prompt");
}
