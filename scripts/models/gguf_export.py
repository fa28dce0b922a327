#!/usr/bin/env python3
"""Write a Hugging Face Qwen2, Qwen2.5 or Qwen3 model, dense or mixture-of-experts, or the text model of a Qwen2-VL
or Qwen3-VL, as GGUF. `projector_export.py` writes the tower of a Qwen3-VL.

The `gguf` package writes the container and quantizes; this file maps the model to the metadata
keys and tensor names that GGUF readers (llama.cpp, candle, qwen-queue) expect.

    from gguf_export import export, with_stored_weights
    export(model, tokenizer, "model.gguf", weight_type="Q8_0", chat_template=template)

Qwen's RoPE pairs the first half of a head with the second (NEOX), so the query and key weights are
stored unpermuted. The matrices of all experts of a layer are one tensor `[experts, outputs, inputs]`.
The router is stored as F32.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as WeightType
from gguf import LlamaFileType, TokenType
from tokenizers import Tokenizer
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

# The model types of transformers and the corresponding GGUF architectures.
ARCHITECTURES = {
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "qwen2_vl": "qwen2vl",
    "qwen3_vl": "qwen3vl",
}
# Whether the weights of the chosen experts are normalized to sum 1. Readers derive it from the
# architecture; they read no metadata key for it.
NORMALIZES_EXPERT_WEIGHTS = {"qwen2_moe": False, "qwen3_moe": True}

# Converts float32 values to the stored bytes of a type.
Quantizer = Callable[[np.ndarray, WeightType], np.ndarray]

# The types that `export` accepts. The `gguf` package quantizes all but K-quants: pass `quantize` for those.
FILE_TYPES: dict[str, LlamaFileType] = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q5_1": LlamaFileType.MOSTLY_Q5_1,
    "Q5_0": LlamaFileType.MOSTLY_Q5_0,
    "Q4_1": LlamaFileType.MOSTLY_Q4_1,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
    "Q4_K": LlamaFileType.MOSTLY_Q4_K_S,
}

MODEL_TENSORS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}
# Routers and gates stay F32: they are small, and a rounding error can select other experts.
ALWAYS_F32 = ("mlp.gate.weight", "mlp.shared_expert_gate.weight")

YARN_KEYS = {
    "rope_type",
    "rope_theta",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
}


def export(
    model: PreTrainedModel,
    tokenizer: Tokenizer | PreTrainedTokenizerFast,
    path: str | Path,
    *,
    weight_type: str = "F16",
    embedding_type: str | None = None,
    chat_template: str | None = None,
    name: str = "qwen",
    license: str | None = None,
    eos: str = "<|im_end|>",
    bos: str = "<|endoftext|>",
    pad: str = "<|endoftext|>",
    pooling: str | None = None,
    quantize: Quantizer = gguf.quantize,
) -> None:
    """Write `model` and `tokenizer` to `path`.

    `weight_type` (a key of `FILE_TYPES`) applies to matrices; norms and biases stay F32.
    `embedding_type` overrides it for the token embedding and the output head, which suffer most
    from few bits. `chat_template` defaults to the tokenizer's own, if it has one. `pooling` (`last`)
    marks an embedding model, whose texts all end with `eos`.
    """
    arch = ARCHITECTURES.get(model.config.model_type)
    if arch is None:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"model type {model.config.model_type!r} is not one of {known}")
    if chat_template is None:
        chat_template = getattr(tokenizer, "chat_template", None)

    text = model.config.get_text_config()
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_name(name)
    if license is not None:
        writer.add_license(license)
    writer.add_file_type(FILE_TYPES[weight_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_hyperparameters(writer, model)
    _add_vocabulary(writer, Vocabulary.of(tokenizer, text.vocab_size), eos, bos, pad)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType[pooling.upper()])
        writer.add_add_eos_token(True)
    for tensor in stored_tensors(model, weight_type, embedding_type, quantize):
        writer.add_tensor(tensor.gguf_name, tensor.data, raw_dtype=tensor.type)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def with_stored_weights(
    model: PreTrainedModel, weight_type: str, embedding_type: str | None = None
) -> PreTrainedModel:
    """Return a float32 copy of `model` with exactly the weights that `export` stores.

    Its outputs in transformers are the reference for an engine that reads the file.
    """
    reference = copy.deepcopy(model).float()
    parameters = dict(reference.named_parameters())
    with torch.no_grad():
        for tensor in stored_tensors(model, weight_type, embedding_type):
            parameter = parameters[tensor.hf_name]
            if tensor.outputs is not None:
                parameter = parameter[:, tensor.outputs]
            parameter.copy_(torch.from_numpy(tensor.dequantized()).view_as(parameter))
    return reference


@dataclass(frozen=True)
class StoredTensor:
    """A weight tensor as stored in the file."""

    hf_name: str
    gguf_name: str
    type: WeightType
    data: np.ndarray
    # The slice of the parameter's outputs that it holds, or None for all: `[experts, outputs, inputs]`.
    outputs: slice | None = None

    def dequantized(self) -> np.ndarray:
        """Return the float32 values that a reader of the file gets."""
        return np.array(gguf.dequantize(self.data, self.type), dtype=np.float32)


def stored_tensors(
    model: PreTrainedModel,
    weight_type: str,
    embedding_type: str | None = None,
    quantize: Quantizer = gguf.quantize,
) -> Iterator[StoredTensor]:
    """Yield the tensors of `model` in file order, in the types they are stored in. A tower's are left out."""
    matrix_type = WeightType[weight_type]
    table_type = WeightType[embedding_type or weight_type]
    tied = model.config.tie_word_embeddings
    # In a model without a head the names lack the prefix `model.`.
    prefix = "" if hasattr(model, "lm_head") else "model."
    for hf_name, parameter in model.state_dict().items():
        name = prefix + hf_name.replace("model.language_model.", "model.")
        if name.startswith("model.visual."):
            continue
        if tied and name == "lm_head.weight":
            continue
        values = parameter.detach().float().cpu().contiguous().numpy()
        if name.endswith("shared_expert_gate.weight"):
            values = values.squeeze(0)
        if values.ndim == 1 or name.endswith(ALWAYS_F32):
            stored = WeightType.F32
        elif name in ("model.embed_tokens.weight", "lm_head.weight"):
            stored = table_type
        else:
            stored = matrix_type
        block = gguf.GGML_QUANT_SIZES[stored][0]
        if values.shape[-1] % block != 0:
            raise ValueError(
                f"{hf_name}: rows of {values.shape[-1]} are not a multiple of the "
                f"{block} values in a block of {stored.name}"
            )
        for part, outputs in _parts(name, values):
            part_values = values if outputs is None else np.ascontiguousarray(values[:, outputs])
            data = quantize(part_values, stored)
            yield StoredTensor(hf_name, gguf_name(part), stored, data, outputs)


def _parts(name: str, values: np.ndarray) -> list[tuple[str, slice | None]]:
    """Return the names and output slices of the tensors that a parameter is stored as.

    transformers keeps the gate and up projections of the experts in one parameter; GGUF has two tensors.
    """
    if name.endswith("mlp.experts.gate_up_proj"):
        ffn = values.shape[1] // 2
        experts = name.removesuffix("gate_up_proj")
        return [
            (f"{experts}gate_proj.weight", slice(0, ffn)),
            (f"{experts}up_proj.weight", slice(ffn, None)),
        ]
    if name.endswith("mlp.experts.down_proj"):
        return [(f"{name}.weight", None)]
    return [(name, None)]


def gguf_name(hf_name: str) -> str:
    """`model.layers.3.self_attn.q_proj.bias` -> `blk.3.attn_q.bias`."""
    if hf_name in MODEL_TENSORS:
        return MODEL_TENSORS[hf_name]
    layer, _, rest = hf_name.removeprefix("model.layers.").partition(".")
    module, _, kind = rest.rpartition(".")
    if not layer.isdigit() or module not in LAYER_TENSORS:
        raise ValueError(f"no GGUF name is known for {hf_name}")
    return f"blk.{layer}.{LAYER_TENSORS[module]}.{kind}"


def _add_hyperparameters(writer: gguf.GGUFWriter, model: PreTrainedModel) -> None:
    config = model.config.get_text_config()
    if getattr(config, "use_sliding_window", False):
        raise ValueError("sliding-window attention is not supported")
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_rope(writer, config.rope_parameters)
    if vision := getattr(model.config, "vision_config", None):
        writer.add_rope_dimension_sections([*config.rope_parameters["mrope_section"], 0])
        if layers := getattr(vision, "deepstack_visual_indexes", None):
            writer.add_uint32(f"{writer.arch}.n_deepstack_layers", len(layers))
    if config.model_type in NORMALIZES_EXPERT_WEIGHTS:
        _add_experts(writer, config)


def _add_rope(writer: gguf.GGUFWriter, rope: dict) -> None:
    writer.add_rope_freq_base(rope["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return
    unknown = rope.keys() - YARN_KEYS
    if kind != "yarn" or unknown:
        raise ValueError(f"rope {kind!r} {', '.join(sorted(unknown))} is not supported")
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    for key, add in (
        ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
        ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
        ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
    ):
        if rope.get(key) is not None:
            add(rope[key])


def _add_experts(writer: gguf.GGUFWriter, config: PreTrainedConfig) -> None:
    if config.norm_topk_prob != NORMALIZES_EXPERT_WEIGHTS[config.model_type]:
        raise ValueError(
            f"norm_topk_prob is {config.norm_topk_prob}; GGUF readers assume the opposite "
            f"for {config.model_type}"
        )
    if config.mlp_only_layers or config.decoder_sparse_step != 1:
        raise ValueError("layers without experts are not supported")
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if config.model_type == "qwen2_moe":
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE tokenizer in GGUF's form: parallel lists indexed by token id."""

    tokens: list[str]
    types: list[TokenType]
    merges: list[str]

    @classmethod
    def of(cls, tokenizer: Tokenizer | PreTrainedTokenizerFast, size: int) -> Vocabulary:
        """Read `tokenizer`, filling up to the model's `size` rows with unused tokens."""
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        state = json.loads(backend.to_str())
        bpe = state["model"]
        if bpe["type"] != "BPE":
            raise ValueError(f"tokenizer model {bpe['type']!r} is not BPE")
        if bpe["vocab"] and max(bpe["vocab"].values()) >= size:
            raise ValueError(f"the tokenizer has ids beyond the model's {size} rows")

        tokens = [f"[PAD{id}]" for id in range(size)]
        types = [TokenType.UNUSED] * size
        for token, id in bpe["vocab"].items():
            tokens[id], types[id] = token, TokenType.NORMAL
        for added in state["added_tokens"]:
            if added["id"] >= size:
                raise ValueError(f"token {added['content']!r} is beyond the model's {size} rows")
            tokens[added["id"]] = added["content"]
            types[added["id"]] = _added_token_type(added["content"], added["special"])
        # tokenizers writes merges as pairs; older versions wrote them as joined strings.
        merges = [m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]]
        return cls(tokens, types, merges)

    def id(self, token: str) -> int:
        try:
            return self.tokens.index(token)
        except ValueError:
            raise ValueError(f"the vocabulary has no token {token!r}") from None


def _added_token_type(content: str, special: bool) -> TokenType:
    """Return CONTROL for tokens like `<|im_end|>`, USER_DEFINED for text a user may see (`<think>`)."""
    if special or (content.startswith("<|") and content.endswith("|>")):
        return TokenType.CONTROL
    return TokenType.USER_DEFINED


def _add_vocabulary(
    writer: gguf.GGUFWriter, vocabulary: Vocabulary, eos: str, bos: str, pad: str
) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(vocabulary.id(eos))
    writer.add_bos_token_id(vocabulary.id(bos))
    writer.add_pad_token_id(vocabulary.id(pad))
    writer.add_add_bos_token(False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a saved Hugging Face Qwen model as GGUF.")
    parser.add_argument("model", type=Path, help="folder with config.json, weights and tokenizer")
    parser.add_argument("output", type=Path, help="the .gguf file to write")
    parser.add_argument("--type", default="F16", choices=FILE_TYPES, help="type of the matrices")
    parser.add_argument(
        "--embedding-type",
        choices=FILE_TYPES,
        help="type of the token embedding and the output head (default: as --type)",
    )
    parser.add_argument("--pooling", choices=["last"], help="how an embedding model's tokens are pooled")
    parser.add_argument("--name", default="qwen", help="general.name in the file")
    args = parser.parse_args()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    export(
        model,
        tokenizer,
        args.output,
        weight_type=args.type,
        embedding_type=args.embedding_type,
        name=args.name,
        # Qwen3-Embedding's tokenizer ends every text with `<|endoftext|>`.
        eos="<|endoftext|>" if args.pooling else "<|im_end|>",
        pooling=args.pooling,
    )


if __name__ == "__main__":
    main()
