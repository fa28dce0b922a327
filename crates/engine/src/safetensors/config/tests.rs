use serde_json::json;

use super::*;

/// Translates `rope_scaling` of a config. Returns the keys and values of GGUF, or the error.
fn scaling(architecture: &str, scaling: Json) -> Result<Vec<(&'static str, Value)>, String> {
    let architecture = Architecture::ALL.into_iter().find(|one| one.name == architecture).unwrap();
    let Json::Object(config) = json!({"rope_theta": 1e6, "rope_scaling": scaling}) else {
        panic!("no object");
    };
    let values = rope(architecture, &Object::new(FILE, config)).map_err(|error| error.to_string());
    Ok(values?.into_iter().skip(1).map(|(key, value, _)| (key, value)).collect())
}

/// As the configs of Qwen2-VL, of Qwen2.5-VL with a longer context, and of Qwen3-VL have it.
#[test]
fn mrope_is_translated_to_the_keys_of_gguf() {
    let sections =
        |numbers: [i64; 3]| ("rope.dimension_sections", Value::Array(Array::Int(numbers.to_vec())));
    let qwen2 = json!({"type": "mrope", "mrope_section": [16, 24, 24]});
    assert_eq!(scaling("qwen2vl", qwen2), Ok(vec![sections([16, 24, 24])]));
    let long = json!({"type": "yarn", "mrope_section": [16, 24, 24], "factor": 4});
    let yarn = ("rope.scaling.type", Value::String("yarn".into()));
    let factor = ("rope.scaling.factor", Value::Float(4.0));
    assert_eq!(scaling("qwen2vl", long), Ok(vec![sections([16, 24, 24]), yarn, factor]));
    let qwen3 = json!({
        "rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": true,
    });
    assert_eq!(scaling("qwen3vl", qwen3.clone()), Ok(vec![sections([24, 20, 20])]));
    let error = scaling("qwen2vl", qwen3).unwrap_err();
    assert!(error.contains("mrope_interleaved") && error.contains("false in a qwen2vl"), "{error}");
    let error = scaling("qwen2vl", json!({"type": "mrope"})).unwrap_err();
    assert!(error.contains("mrope_section"), "{error}");
    let error = scaling("qwen2vl", json!({"type": "mrope", "mrope_section": [1.5]})).unwrap_err();
    assert!(error.contains("a list of integers"), "{error}");
    let error = scaling("qwen3vl", json!({"rope_type": "default"})).unwrap_err();
    assert!(error.contains("mrope_section") && error.contains("in rope_scaling or"), "{error}");
}
