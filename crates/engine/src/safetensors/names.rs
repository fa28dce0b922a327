//! Maps the decoder's tensor names to those of transformers' checkpoints.

/// Tensors of the whole model, except the head: after the prefix of the text model.
const MODEL: [(&str, &str); 2] = [("token_embd", "embed_tokens"), ("output_norm", "norm")];

/// Tensors of a layer: after `blk.N.`, and after `layers.N.`.
const LAYER: [(&str, &str); 25] = [
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
    // Of hybrid models.
    ("post_attention_norm", "post_attention_layernorm"),
    ("attn_qkv", "linear_attn.in_proj_qkv"),
    ("attn_gate", "linear_attn.in_proj_z"),
    ("ssm_beta", "linear_attn.in_proj_b"),
    ("ssm_alpha", "linear_attn.in_proj_a"),
    ("ssm_ba", "linear_attn.in_proj_ba"),
    ("ssm_conv1d", CONVOLUTION),
    ("ssm_norm", "linear_attn.norm"),
    ("ssm_out", "linear_attn.out_proj"),
];

/// Tensors of a recurrent layer whose names have no `weight`: after `blk.N.`, and after `layers.N.`.
const WHOLE: [(&str, &str); 2] =
    [("ssm_a", "linear_attn.A_log"), ("ssm_dt.bias", "linear_attn.dt_bias")];

/// Queries, keys, values and gates of a recurrent layer in one tensor: Qwen3-Next.
const FUSED: &str = "linear_attn.in_proj_qkvz";

/// The convolution of a recurrent layer, which has a dimension of one in the files.
const CONVOLUTION: &str = "linear_attn.conv1d";

/// Small matrices that are never quantized: they make discrete decisions, or decide how long a state lasts.
const EXACT: [&str; 6] = [
    ROUTER,
    SHARED_GATE,
    CONVOLUTION,
    "linear_attn.in_proj_b",
    "linear_attn.in_proj_a",
    "linear_attn.in_proj_ba",
];

/// Tensors of an expert: between `blk.N.` and `.E`, and after `layers.N.mlp.experts.E.`.
const EXPERT: [(&str, &str); 3] =
    [("ffn_gate_exps", "gate_proj"), ("ffn_up_exps", "up_proj"), ("ffn_down_exps", "down_proj")];

/// The routers of the experts and of the shared expert.
const ROUTER: &str = "mlp.gate";
const SHARED_GATE: &str = "mlp.shared_expert_gate";

/// What precedes the text model's tensors and its head: in text models and the first Qwen2-VL files, in models that
/// see as transformers saves them now, and in files of other tools.
const PREFIXES: [(&str, &str); 3] = [
    ("model.", "lm_head.weight"),
    ("model.language_model.", "lm_head.weight"),
    ("language_model.model.", "language_model.lm_head.weight"),
];

/// What precedes the tensors of a model's vision tower: today, in the first Qwen2-VL files, and in Qwen-Omni's.
pub(crate) const TOWERS: [&str; 3] = ["model.visual.", "visual.", "thinker.visual."];

/// The names in the files of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    model: &'static str,
    /// The head, by its name in the files.
    pub(super) head: &'static str,
}

/// The tensor with some matrices of all experts of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    /// Its name in the files.
    pub(super) tensor: String,
    /// The matrix's place among those of an expert, and their number.
    pub(super) place: (usize, usize),
    /// The number of the expert.
    pub(super) expert: usize,
}

impl Names {
    /// Returns the names of a model whose files have a tensor if `has` says so.
    pub(super) fn of(has: impl Fn(&str) -> bool) -> Self {
        let named = |(model, head)| Self { model, head };
        let found = PREFIXES.into_iter().map(named).find(|names| has(&names.embedding()));
        found.unwrap_or(named(PREFIXES[0]))
    }

    /// Returns the embedding's name in the files.
    pub(super) fn embedding(self) -> String {
        format!("{}embed_tokens.weight", self.model)
    }

    /// Returns what precedes a layer's number.
    pub(super) fn layers(self) -> String {
        format!("{}layers.", self.model)
    }

    /// Returns the name in the files, or `None` for an unknown name:
    /// `blk.3.attn_q.bias` → `model.layers.3.self_attn.q_proj.bias`.
    pub(super) fn theirs(self, name: &str) -> Option<String> {
        if name == "output.weight" {
            return Some(self.head.to_owned());
        }
        if let Some((layer, own)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'))
            && let Some(theirs) = find(&WHOLE, own)
        {
            return Some(format!("{}{layer}.{theirs}", self.layers()));
        }
        let (module, kind) = name.rsplit_once('.')?;
        match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((layer, module)) => {
                let theirs = match module.split_once('.') {
                    None => find(&LAYER, module)?.to_owned(),
                    Some((module, expert)) => {
                        format!("mlp.experts.{expert}.{}", find(&EXPERT, module)?)
                    }
                };
                Some(format!("{}{layer}.{theirs}.{kind}", self.layers()))
            }
            None => Some(format!("{}{}.{kind}", self.model, find(&MODEL, module)?)),
        }
    }

    /// Returns the tensor that has an expert's matrix together with those of all experts, by the decoder's name of the
    /// matrix: `blk.3.ffn_up_exps.7.weight`.
    pub(super) fn packed(self, name: &str) -> Option<Packed> {
        let module = name.strip_suffix(".weight")?.strip_prefix("blk.")?;
        let (layer, module) = module.split_once('.')?;
        let (module, expert) = module.split_once('.')?;
        let (tensor, place) = match module {
            "ffn_gate_exps" => ("gate_up_proj", (0, 2)),
            "ffn_up_exps" => ("gate_up_proj", (1, 2)),
            "ffn_down_exps" => ("down_proj", (0, 1)),
            _ => return None,
        };
        let tensor = format!("{}{layer}.mlp.experts.{tensor}", self.layers());
        Some(Packed { tensor, place, expert: expert.parse().ok()? })
    }

    /// Returns the tensor of a recurrent layer that has the rows of `attn_qkv` and `attn_gate` together, by the
    /// decoder's name of one of these, and whether it is the gate.
    pub(super) fn fused(self, name: &str) -> Option<(String, bool)> {
        let (layer, module) = name.strip_prefix("blk.")?.split_once('.')?;
        let is_gate = match module {
            "attn_qkv.weight" => false,
            "attn_gate.weight" => true,
            _ => return None,
        };
        Some((format!("{}{layer}.{FUSED}.weight", self.layers()), is_gate))
    }

    /// Returns whether a tensor is the convolution of a recurrent layer.
    pub(super) fn is_convolution(self, theirs: &str) -> bool {
        let module = theirs.strip_suffix(".weight").and_then(|name| self.module_of_layer(name));
        module == Some(CONVOLUTION)
    }

    /// Returns whether a tensor has matrices of all experts of a layer.
    pub(super) fn is_packed(self, theirs: &str) -> bool {
        let module = self.module_of_layer(theirs);
        module.is_some_and(|module| {
            ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"].contains(&module)
        })
    }

    /// Returns whether the decoder has a tensor with this name in the files.
    pub(super) fn is_known(self, theirs: &str) -> bool {
        if theirs == self.head || self.is_packed(theirs) {
            return true;
        }
        if let Some(own) = self.module_of_layer(theirs)
            && WHOLE.iter().any(|(_, known)| *known == own)
        {
            return true;
        }
        let Some((module, "weight" | "bias")) = theirs.rsplit_once('.') else { return false };
        match self.module_of_layer(module) {
            Some(FUSED) => true,
            Some(module) => LAYER.iter().any(|(_, known)| *known == module) || is_expert(module),
            None => {
                let module = module.strip_prefix(self.model);
                module.is_some_and(|module| MODEL.iter().any(|(_, known)| *known == module))
            }
        }
    }

    /// Returns whether a tensor is not quantized, whatever the format of the others.
    pub(super) fn stays_unquantized(self, theirs: &str) -> bool {
        let module = theirs.rsplit_once('.').and_then(|(module, _)| self.module_of_layer(module));
        module.is_some_and(|module| EXACT.contains(&module))
    }

    /// Returns what follows the number of a layer.
    fn module_of_layer(self, theirs: &str) -> Option<&str> {
        let (number, module) =
            theirs.strip_prefix(self.model)?.strip_prefix("layers.")?.split_once('.')?;
        is_number(number).then_some(module)
    }
}

fn find(table: &[(&str, &'static str)], module: &str) -> Option<&'static str> {
    table.iter().find(|(ours, _)| *ours == module).map(|(_, theirs)| *theirs)
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
        let names = Names::of(|name| name == "model.embed_tokens.weight");
        for (ours, theirs) in [
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("output.weight", "lm_head.weight"),
            ("blk.31.attn_q.bias", "model.layers.31.self_attn.q_proj.bias"),
            ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
            ("blk.7.ffn_down_exps.12.weight", "model.layers.7.mlp.experts.12.down_proj.weight"),
            ("blk.7.ffn_gate_inp.weight", "model.layers.7.mlp.gate.weight"),
            ("blk.2.ssm_a", "model.layers.2.linear_attn.A_log"),
            ("blk.2.ssm_dt.bias", "model.layers.2.linear_attn.dt_bias"),
            ("blk.2.attn_qkv.weight", "model.layers.2.linear_attn.in_proj_qkv.weight"),
            ("blk.2.post_attention_norm.weight", "model.layers.2.post_attention_layernorm.weight"),
        ] {
            assert_eq!(names.theirs(ours).as_deref(), Some(theirs));
            assert!(names.is_known(theirs), "{theirs}");
        }
        assert_eq!(names.embedding(), "model.embed_tokens.weight");
        assert_eq!(names.theirs("blk.0.ssm_in.weight"), None);
        assert!(names.stays_unquantized("model.layers.7.mlp.gate.weight"));
        assert!(!names.stays_unquantized("model.layers.7.mlp.experts.0.gate_proj.weight"));
        assert!(names.stays_unquantized("model.layers.2.linear_attn.in_proj_a.weight"));
        let fused = "model.layers.2.linear_attn.in_proj_qkvz.weight";
        assert_eq!(names.fused("blk.2.attn_gate.weight"), Some((fused.to_owned(), true)));
        assert!(names.is_known(fused) && names.fused("blk.2.ssm_out.weight").is_none());
        assert!(names.is_convolution("model.layers.2.linear_attn.conv1d.weight"));
        for other in [
            "model.layers.0.mlp.experts.x.up_proj.weight",
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "model.language_model.norm.weight",
            "visual.norm.weight",
            "",
        ] {
            assert!(!names.is_known(other), "{other}");
        }
    }

    #[test]
    fn the_embedding_decides_what_precedes_all_names() {
        for (prefix, head) in PREFIXES {
            let embedding = format!("{prefix}embed_tokens.weight");
            let names = Names::of(|name| name == embedding);
            assert_eq!(names.embedding(), embedding);
            assert_eq!(names.theirs("output.weight").as_deref(), Some(head));
            let up = format!("{prefix}layers.2.mlp.up_proj.weight");
            assert_eq!(names.theirs("blk.2.ffn_up.weight"), Some(up.clone()));
            assert!(names.is_known(&up) && names.is_known(head));
            let packed = names.packed("blk.2.ffn_up_exps.7.weight").unwrap();
            assert_eq!(packed.tensor, format!("{prefix}layers.2.mlp.experts.gate_up_proj"));
            assert_eq!((packed.place, packed.expert), ((1, 2), 7));
            assert!(names.is_known(&packed.tensor) && names.is_packed(&packed.tensor));
            assert!(!names.is_packed(&up));
        }
        assert_eq!(Names::of(|_| false).embedding(), "model.embed_tokens.weight");
    }
}
