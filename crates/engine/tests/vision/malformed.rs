//! Damaged and foreign files of towers are refused with a message that names what is wrong.

use engine::gguf::Value;
use engine::vision::{Precision, Tower};

use super::folder;
use super::projector::Projector;

fn refusal(change: impl Fn(&mut Projector)) -> String {
    let mut projector = Projector::of("qwen3vl");
    change(&mut projector);
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mmproj.gguf");
    projector.write(&path);
    Tower::load(&path, Precision::Full).unwrap_err().to_string()
}

fn set(projector: &mut Projector, key: &str, value: Value) {
    projector.metadata.retain(|(name, _)| name != key);
    projector.metadata.push((key.to_owned(), value));
}

#[test]
fn projectors_with_wrong_contents_are_refused_by_name() {
    type Change = Box<dyn Fn(&mut Projector)>;
    let key = |key: &'static str, value: Value| -> Change {
        Box::new(move |projector| set(projector, key, value.clone()))
    };
    let without = |name: &'static str| -> Change {
        Box::new(move |projector| {
            projector.tensors.remove(name).unwrap();
        })
    };
    let text = |text: &str| Value::String(text.to_owned());
    let cases: Vec<(Change, &str)> = vec![
        (key("general.architecture", text("qwen3")), "\"qwen3\", not a projector"),
        (key("clip.projector_type", text("mlp")), "the kind \"mlp\"; supported are qwen2vl_merger"),
        (key("clip.vision.patch_size", Value::Int(0)), "patch size should be from 1"),
        (key("clip.vision.patch_size", text("16")), "clip.vision.patch_size"),
        (key("clip.vision.block_count", Value::Int(4)), "is_deepstack_layers"),
        (key("clip.vision.attention.head_count", Value::Int(3)), "3 heads"),
        (key("clip.vision.feed_forward_length", Value::Int(40)), "v.blk.0.ffn_up.bias"),
        (key("clip.vision.embedding_length", Value::Int(1 << 30)), "width should be from 1"),
        (key("clip.vision.attention.layer_norm_epsilon", Value::Float(0.0)), "epsilon"),
        (key("clip.vision.image_min_pixels", Value::Int(99_999_999)), "image_min_pixels"),
        (without("v.blk.1.attn_qkv.weight"), "v.blk.1.attn_qkv.weight"),
        (without("v.position_embd.weight"), "v.position_embd.weight"),
        (without("v.deepstack.2.fc1.bias"), "v.deepstack.2.fc1.bias"),
        (without("v.patch_embd.weight.1"), "v.patch_embd.weight.1"),
        (
            Box::new(|projector| {
                projector.tensors.insert("v.extra.weight".to_owned(), (vec![2], vec![0.0; 2]));
            }),
            "\"v.extra.weight\", which is no part",
        ),
        (
            Box::new(|projector| {
                projector.tensors.get_mut("mm.0.weight").unwrap().1[5] = f32::INFINITY;
            }),
            "mm.0",
        ),
        (
            Box::new(|projector| {
                projector.metadata.retain(|(key, _)| key != "clip.projector_type")
            }),
            "clip.projector_type",
        ),
    ];
    for (change, expected) in cases {
        let message = refusal(change);
        assert!(message.contains(expected), "{message} does not have {expected}");
        assert!(message.contains("mmproj.gguf"), "{message}");
    }
}

#[test]
fn truncated_projectors_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mmproj.gguf");
    Projector::of("qwen2.5vl").write(&path);
    let bytes = std::fs::read(&path).unwrap();
    for part in [0, 3, 24, bytes.len() / 4, bytes.len() / 2, bytes.len() - 33] {
        std::fs::write(&path, &bytes[..part]).unwrap();
        assert!(Tower::load(&path, Precision::Full).is_err(), "{part} bytes");
    }
}

#[test]
fn folders_with_wrong_contents_are_refused_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    let fixture = folder().join("qwen3vl");
    let (config, weights) = ("config.json", "model.safetensors");
    std::fs::copy(fixture.join(weights), temporary.path().join(weights)).unwrap();
    let original = std::fs::read_to_string(fixture.join(config)).unwrap();
    for (from, to, expected) in [
        ("\"qwen3_vl\"", "\"llama\"", "model_type is llama"),
        ("\"vision_config\"", "\"other\"", "vision_config"),
        ("\"depth\": 3", "\"depth\": 4", "blocks.3.norm1"),
        ("\"depth\": 3", "\"depth\": \"3\"", "\"depth\" should be an integer"),
        ("\"depth\": 3", "\"depth\": 2", "DeepStack"),
        ("\"num_position_embeddings\": 49", "\"num_position_embeddings\": 64", "pos_embed.weight"),
        ("\"intermediate_size\": 36", "\"intermediate_size\": 35", "blocks.0.mlp.linear_fc1"),
        ("\"patch_size\": 4", "\"patch_size\": 5", "patch_embed.proj.weight"),
    ] {
        assert!(original.contains(from), "{from}");
        std::fs::write(temporary.path().join(config), original.replace(from, to)).unwrap();
        let error = Tower::load(temporary.path(), Precision::Full).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} does not have {expected}");
    }
    std::fs::write(temporary.path().join(config), original).unwrap();
    Tower::load(temporary.path(), Precision::Full).unwrap();
    std::fs::remove_file(temporary.path().join(weights)).unwrap();
    assert!(Tower::load(temporary.path(), Precision::Full).is_err());
}
