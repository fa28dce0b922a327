//! Tensors that the decoder does not have.

use crate::edit::Gguf;

#[test]
fn unsupported_tensors_are_refused_by_name() {
    for (model, tensor, shape) in [
        ("qwen3/qwen3-f32", "blk.0.attn_q.bias", [128].as_slice()), // a bias where there is none
        ("qwen3/qwen3-q8_0", "blk.1.attn_output.bias", &[64]),
        ("qwen2/qwen2-f32", "blk.0.ffn_down.bias", &[64]),
        ("qwen2.5/qwen2.5-f32", "output.bias", &[512]),
        ("qwen2/qwen2-f32", "blk.1.attn_q_norm.weight", &[16]), // a norm of another family
        ("qwen3/qwen3-f32", "blk.0.attn_q.scale", &[1]),        // a scale of a quantizer
        ("qwen3/qwen3-f32", "blk.0.post_attention_norm.weight", &[64]),
        ("qwen3/qwen3-f32", "rope_freqs.weight", &[16]),
        ("qwen3/qwen3-f32", "blk.2.attn_norm.weight", &[64]), // a layer that block_count leaves out
        ("qwen3/qwen3-f32", "v.patch_embd.weight", &[64, 64]),
        ("qwen3moe/qwen3moe-q8_0", "blk.0.ffn_gate_shexp.weight", &[64, 64]),
        ("qwen2moe/qwen2moe-f32", "blk.0.exp_probs_b.bias", &[6]),
        ("embedding/embedding", "blk.0.attn_k.bias", &[64]),
    ] {
        let error = Gguf::fixture(model).with_tensor(tensor, shape).refusal();
        assert!(error.contains(&format!("{tensor:?}")), "{model} {tensor}: {error}");
        assert!(error.contains("not used"), "{model} {tensor}: {error}");
    }
}

#[test]
fn many_unsupported_tensors_are_summarized_in_one_error() {
    let many = (0..2).fold(Gguf::fixture("qwen3/qwen3-f32"), |file, layer| {
        ["attn_q", "attn_k", "attn_v"]
            .into_iter()
            .fold(file, |file, name| file.with_tensor(&format!("blk.{layer}.{name}.bias"), &[64]))
    });
    let error = many.refusal();
    assert!(error.contains("blk.0.attn_k.bias") && error.contains("3 more"), "{error}");
}

#[test]
fn classifiers_and_reward_models_are_refused_by_kind() {
    for tensor in ["cls.weight", "cls.output.weight", "score.weight", "v_head.summary.weight"] {
        let file = Gguf::fixture("qwen3/qwen3-f32").with_tensor(tensor, &[2, 64]);
        let error = file.refusal();
        assert!(error.contains("classifier or reward model"), "{tensor}: {error}");
        assert!(error.contains(tensor), "{tensor}: {error}");
    }
}

#[test]
fn every_fixture_loads_without_unused_tensors() {
    for model in [
        "qwen2/qwen2-f16",
        "qwen2.5/qwen2.5-f32",
        "qwen3/qwen3-q4_0",
        "qwen2moe/qwen2moe-f32",
        "qwen3moe/qwen3moe-f32",
        "yarn/yarn-f32",
        "wide/wide-q4_k",
    ] {
        let copy = Gguf::fixture(model);
        assert!(copy.start().is_ok(), "{model}");
    }
    // The head of a model that makes embeddings is not computed.
    let file = Gguf::fixture("embedding/embedding");
    assert!(file.clone().with_tensor("output.weight", &[512, 64]).start().is_ok());
}
