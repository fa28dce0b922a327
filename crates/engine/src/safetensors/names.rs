//! Maps the decoder's tensor names to those of transformers' checkpoints.

/// Tensors of the whole model.
const MODEL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Tensors of a layer: after `blk.N.`, and after `model.layers.N.`.
const LAYER: [(&str, &str); 16] = [
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
    ("ffn_gate_inp", ROUTER),
    ("ffn_gate_inp_shexp", SHARED_GATE),
    ("ffn_gate_shexp", "mlp.shared_expert.gate_proj"),
    ("ffn_up_shexp", "mlp.shared_expert.up_proj"),
    ("ffn_down_shexp", "mlp.shared_expert.down_proj"),
];

/// Tensors of an expert: between `blk.N.` and `.E`, and after `model.layers.N.mlp.experts.E.`.
const EXPERT: [(&str, &str); 3] =
    [("ffn_gate_exps", "gate_proj"), ("ffn_up_exps", "up_proj"), ("ffn_down_exps", "down_proj")];

/// The routers of the experts and of the shared expert: never quantized.
const ROUTER: &str = "mlp.gate";
const SHARED_GATE: &str = "mlp.shared_expert_gate";

/// The prefix before a layer's number.
pub(super) const LAYERS: &str = "model.layers.";
/// The embedding, by its name in the files.
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The head, by its name in the files.
pub(super) const HEAD: &str = "lm_head.weight";

/// Returns the name in the files, or `None` for an unknown name:
/// `blk.3.attn_q.bias` → `model.layers.3.self_attn.q_proj.bias`.
pub(super) fn transformers_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let of = |table: &[(&str, &'static str)], module: &str| {
        table.iter().find(|(ours, _)| *ours == module).map(|(_, theirs)| *theirs)
    };
    match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, module)) => {
            let theirs = match module.split_once('.') {
                None => of(&LAYER, module)?.to_owned(),
                Some((module, expert)) => {
                    format!("mlp.experts.{expert}.{}", of(&EXPERT, module)?)
                }
            };
            Some(format!("{LAYERS}{layer}.{theirs}.{kind}"))
        }
        None => Some(format!("{}.{kind}", of(&MODEL, module)?)),
    }
}

/// Returns whether the decoder has a tensor with this name in the files.
pub(super) fn is_known(theirs: &str) -> bool {
    let Some((module, "weight" | "bias")) = theirs.rsplit_once('.') else { return false };
    let layer = module.strip_prefix(LAYERS).and_then(|rest| rest.split_once('.'));
    match layer {
        Some((number, module)) => {
            is_number(number)
                && (LAYER.iter().any(|(_, theirs)| *theirs == module) || is_expert(module))
        }
        None => MODEL.iter().any(|(_, theirs)| *theirs == module),
    }
}

/// Returns whether a tensor makes discrete decisions and so is not quantized.
pub(super) fn stays_unquantized(theirs: &str) -> bool {
    let module = theirs.rsplit_once('.').map_or("", |(module, _)| module);
    [ROUTER, SHARED_GATE]
        .iter()
        .any(|exact| module.strip_suffix(exact).is_some_and(|before| before.starts_with(LAYERS)))
}

/// Returns whether a module is an expert's: `mlp.experts.3.gate_proj`.
fn is_expert(module: &str) -> bool {
    let expert = module.strip_prefix("mlp.experts.").and_then(|rest| rest.split_once('.'));
    expert.is_some_and(|(number, module)| {
        is_number(number) && EXPERT.iter().any(|(_, theirs)| *theirs == module)
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_names_map_between_gguf_and_transformers() {
        for (ours, theirs) in [
            ("token_embd.weight", EMBEDDING),
            ("output.weight", HEAD),
            ("blk.31.attn_q.bias", "model.layers.31.self_attn.q_proj.bias"),
            ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
            ("blk.7.ffn_down_exps.12.weight", "model.layers.7.mlp.experts.12.down_proj.weight"),
            ("blk.7.ffn_gate_inp.weight", "model.layers.7.mlp.gate.weight"),
        ] {
            assert_eq!(transformers_name(ours).as_deref(), Some(theirs));
            assert!(is_known(theirs), "{theirs}");
        }
        assert_eq!(transformers_name("blk.0.ssm_in.weight"), None);
        assert!(stays_unquantized("model.layers.7.mlp.gate.weight"));
        assert!(!stays_unquantized("model.layers.7.mlp.experts.0.gate_proj.weight"));
        for other in [
            "model.layers.0.mlp.experts.x.up_proj.weight",
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "visual.norm.weight",
            "",
        ] {
            assert!(!is_known(other), "{other}");
        }
    }
}
