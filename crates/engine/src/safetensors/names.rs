//! What the decoder's tensors are called in a checkpoint of transformers.

/// Tensors of the whole model.
const MODEL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Tensors of a layer: behind `blk.N.`, and behind `model.layers.N.`.
const LAYER: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The embedding, by its name in the files.
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The head, by its name in the files.
pub(super) const HEAD: &str = "lm_head.weight";

/// `blk.3.attn_q.bias` → `model.layers.3.self_attn.q_proj.bias`; `None` for what no such model has.
pub(super) fn in_files(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let of = |table: &[(&str, &'static str)], module: &str| {
        table.iter().find(|(ours, _)| *ours == module).map(|(_, theirs)| *theirs)
    };
    match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, module)) => {
            Some(format!("model.layers.{layer}.{}.{kind}", of(&LAYER, module)?))
        }
        None => Some(format!("{}.{kind}", of(&MODEL, module)?)),
    }
}

/// Whether the decoder has a tensor by this name of the files.
pub(super) fn is_known(theirs: &str) -> bool {
    let Some((module, "weight" | "bias")) = theirs.rsplit_once('.') else { return false };
    let layer = module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    match layer {
        Some((number, module)) => {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && LAYER.iter().any(|(_, theirs)| *theirs == module)
        }
        None => MODEL.iter().any(|(_, theirs)| *theirs == module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_transformers() {
        for (ours, theirs) in [
            ("token_embd.weight", EMBEDDING),
            ("output.weight", HEAD),
            ("blk.31.attn_q.bias", "model.layers.31.self_attn.q_proj.bias"),
            ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
        ] {
            assert_eq!(in_files(ours).as_deref(), Some(theirs));
            assert!(is_known(theirs), "{theirs}");
        }
        assert_eq!(in_files("blk.0.ssm_in.weight"), None);
        for other in ["model.layers.0.self_attn.rotary_emb.inv_freq", "visual.norm.weight", ""] {
            assert!(!is_known(other), "{other}");
        }
    }
}
