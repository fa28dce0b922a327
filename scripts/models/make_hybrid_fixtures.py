#!/usr/bin/env python3
"""Write tiny random models of the hybrid architectures: Qwen3.5, Qwen3.5 with experts, and Qwen3-Next.

Each family has a folder `hf` as transformers saves it, the same model as a GGUF file as llama.cpp's converter writes
it, and the logits and greedy tokens of transformers in float32, in the format of `make_fixtures.py`. `--search N`
looks for seeds without near-ties. Needs the transformers of `requirements-vision.txt`.

What llama.cpp's converter changes (`conversion/qwen.py`): norms hold `1 + w` (except `linear_attn.norm`), `ssm_a` is
`-exp(A_log)`, the convolution loses its middle dimension, and Qwen3-Next's fused projection is split. In Qwen3.5 the
value heads are re-ordered: head `j` of key head `i` has the index `j * key_heads + i` instead of
`i * heads_per_key + j`. `block_count` includes the layers that predict several tokens (`mtp`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as WeightType
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig,
    Qwen3NextConfig,
)

import fixture_tokenizer
from fixture_tokenizer import VOCAB_SIZE
from gguf_export import FILE_TYPES, LAYER_TENSORS, MODEL_TENSORS, Vocabulary, _add_vocabulary, _parts
from make_fixtures import CHAT_TEMPLATE, FIXTURES, ROUTING_GAP, compact_json, prompts, reference, routing_gap
from make_safetensors_fixtures import save

# More value heads than key heads, and not as many per key head as there are key heads: a wrong order is seen.
SHAPE = dict(
    vocab_size=VOCAB_SIZE,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=32,
    max_position_embeddings=1024,
    linear_conv_kernel_dim=4,
    linear_key_head_dim=16,
    linear_value_head_dim=16,
    linear_num_key_heads=2,
    linear_num_value_heads=6,
    attn_implementation="eager",
)
ROPE = {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25}
MROPE = ROPE | {"mrope_section": [2, 1, 1], "mrope_interleaved": True}
EXPERTS = dict(
    moe_intermediate_size=32, shared_expert_intermediate_size=32, num_experts=4, num_experts_per_tok=2
)

# The fixtures: the config of transformers, the architecture in GGUF, and the seed.
FAMILIES: dict[str, tuple[PreTrainedConfig, int]] = {
    "qwen35": (
        Qwen3_5TextConfig(**SHAPE, intermediate_size=64, tie_word_embeddings=True, rope_parameters=MROPE),
        0,
    ),
    "qwen35moe": (
        Qwen3_5MoeTextConfig(**SHAPE, **EXPERTS, tie_word_embeddings=False, rope_parameters=MROPE),
        22,
    ),
    "qwen3next": (
        Qwen3NextConfig(
            **SHAPE,
            **EXPERTS,
            intermediate_size=64,
            norm_topk_prob=True,
            tie_word_embeddings=False,
            rope_parameters=ROPE,
        ),
        15,
    ),
}

# Layers that predict several tokens; the engine ignores them.
MTP_LAYERS = {"qwen35": 1}

LINEAR_TENSORS = {
    "linear_attn.in_proj_qkv": "attn_qkv",
    "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_b": "ssm_beta",
    "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_ba": "ssm_ba",
    "linear_attn.conv1d": "ssm_conv1d",
    "linear_attn.norm": "ssm_norm",
    "linear_attn.out_proj": "ssm_out",
}
ALWAYS_F32 = ("ffn_gate_inp", "ffn_gate_inp_shexp", "ssm_conv1d")


def build(name: str, seed: int) -> PreTrainedModel:
    """Return a random model in which every parameter affects the logits."""
    model = AutoModelForCausalLM.from_config(FAMILIES[name][0], dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)

    def uniform(parameter: torch.Tensor, low: float, high: float) -> None:
        parameter.copy_(low + (high - low) * torch.rand(parameter.shape, generator=generator))

    def normal(parameter: torch.Tensor, std: float) -> None:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)

    with torch.no_grad():
        for key, parameter in model.named_parameters():
            fan_in = parameter.shape[-1]
            if key.endswith("linear_attn.norm.weight"):
                uniform(parameter, 0.5, 2.0)
            elif key.endswith("norm.weight"):  # zero-centred
                uniform(parameter, -0.5, 0.8)
            elif key.endswith("A_log"):
                uniform(parameter, -3.5, 1.0)
            elif key.endswith("dt_bias"):
                uniform(parameter, -3.0, 1.0)
            elif key.endswith("conv1d.weight"):
                normal(parameter, 0.6)
            elif key.endswith(("embed_tokens.weight", "lm_head.weight")):
                normal(parameter, 0.6)
            elif key.endswith(("mlp.gate.weight", "shared_expert_gate.weight")):
                normal(parameter, fan_in**-0.5)
            elif key.endswith(("q_proj.weight", "k_proj.weight", "in_proj_a.weight", "in_proj_ba.weight")):
                normal(parameter, fan_in**-0.5)
            else:
                normal(parameter, 2 * fan_in**-0.5)
    return model


def mtp_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return a layer that predicts a second token, by transformers' names, filled with numbers that do not matter."""
    hidden = model.config.hidden_size
    layer = model.config.num_hidden_layers - 1  # a layer of full attention
    prefix = f"model.layers.{layer}."
    tensors = {
        f"mtp.layers.0.{key.removeprefix(prefix)}": value.clone() + 1
        for key, value in model.state_dict().items()
        if key.startswith(prefix)
    }
    tensors["mtp.fc.weight"] = torch.ones(hidden, 2 * hidden)
    for norm in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        tensors[f"mtp.{norm}.weight"] = torch.ones(hidden)
    return tensors


def tiled(values: np.ndarray, config: PreTrainedConfig, axis: int, dim: int) -> np.ndarray:
    """Re-order value heads of `dim` numbers along `axis` from grouped by key head to tiled."""
    keys, per_key = config.linear_num_key_heads, config.linear_num_value_heads // config.linear_num_key_heads
    shape = values.shape
    split = values.reshape(*shape[:axis], keys, per_key, dim, *shape[axis + 1 :])
    return np.ascontiguousarray(split.swapaxes(axis, axis + 1)).reshape(shape)


def reordered(name: str, values: np.ndarray, config: PreTrainedConfig) -> np.ndarray:
    """Return a tensor of a Qwen3.5 with its value heads in GGUF's order."""
    key_rows = 2 * config.linear_num_key_heads * config.linear_key_head_dim
    dim = config.linear_value_head_dim
    if name in ("in_proj_qkv.weight", "conv1d.weight"):
        return np.concatenate([values[:key_rows], tiled(values[key_rows:], config, 0, dim)])
    if name == "in_proj_z.weight":
        return tiled(values, config, 0, dim)
    if name in ("in_proj_b.weight", "in_proj_a.weight", "A_log", "dt_bias"):
        return tiled(values, config, 0, 1)
    if name == "out_proj.weight":
        return tiled(values, config, 1, dim)
    return values


def split_qkvz(values: np.ndarray, config: PreTrainedConfig) -> tuple[np.ndarray, np.ndarray]:
    """Split Qwen3-Next's fused projection, which holds query, key, values and z of one key head after the other."""
    keys, key_dim = config.linear_num_key_heads, config.linear_key_head_dim
    value_rows = config.linear_num_value_heads // keys * config.linear_value_head_dim
    heads = values.reshape(keys, -1, values.shape[1])
    parts = np.split(heads, np.cumsum([key_dim, key_dim, value_rows]), axis=1)
    query, key, value, z = (part.reshape(-1, values.shape[1]) for part in parts)
    return np.concatenate([query, key, value]), z


def converted(arch: str, config: PreTrainedConfig, source: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return the tensors of the GGUF file of a text model, in float32."""
    out = {}
    names = {"fc": "nextn.eh_proj", "pre_fc_norm_embedding": "nextn.enorm", "pre_fc_norm_hidden": "nextn.hnorm",
             "norm": "nextn.shared_head_norm"}
    for key, tensor in source.items():
        values = tensor.float().numpy()
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if key.endswith("norm.weight") and not key.endswith("linear_attn.norm.weight") or "mtp.pre_fc_norm" in key:
            values = values + 1
        if key in MODEL_TENSORS:
            out[MODEL_TENSORS[key]] = values
            continue
        if key.startswith("mtp.layers.0."):
            key = key.replace("mtp.layers.0.", f"model.layers.{config.num_hidden_layers}.")
        elif key.startswith("mtp."):
            name, kind = key.removeprefix("mtp.").rsplit(".", 1)
            out[f"blk.{config.num_hidden_layers}.{names[name]}.{kind}"] = values
            continue
        layer, _, rest = key.removeprefix("model.layers.").partition(".")
        block = f"blk.{layer}"
        if rest.startswith("linear_attn."):
            own = rest.removeprefix("linear_attn.")
            if arch != "qwen3next":
                values = reordered(own, values, config)
            if own == "in_proj_qkvz.weight":
                out[f"{block}.attn_qkv.weight"], out[f"{block}.attn_gate.weight"] = split_qkvz(values, config)
            elif own == "A_log":
                out[f"{block}.ssm_a"] = -np.exp(values)
            elif own == "dt_bias":
                out[f"{block}.ssm_dt.bias"] = values
            else:
                module, _, kind = rest.rpartition(".")
                values = values.squeeze(1) if own == "conv1d.weight" else values
                out[f"{block}.{LINEAR_TENSORS[module]}.{kind}"] = values
            continue
        if rest.endswith("shared_expert_gate.weight"):
            values = values.squeeze(0)
        for part, outputs in _parts(rest, values):
            module, _, kind = part.rpartition(".")
            ours = "post_attention_norm" if module == "post_attention_layernorm" else LAYER_TENSORS[module]
            out[f"{block}.{ours}.{kind}"] = values if outputs is None else values[:, outputs]
    return {key: np.ascontiguousarray(values) for key, values in out.items()}


def add_config(writer: gguf.GGUFWriter, arch: str, config: PreTrainedConfig) -> None:
    """Add the keys that describe the architecture, except `block_count`."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    if getattr(config, "intermediate_size", None):
        writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(int(config.head_dim * config.rope_parameters["partial_rotary_factor"]))
    if sections := config.rope_parameters.get("mrope_section"):
        writer.add_rope_dimension_sections([*sections, 0])
    if getattr(config, "num_experts", None):
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    writer.add_ssm_conv_kernel(config.linear_conv_kernel_dim)
    writer.add_ssm_state_size(config.linear_key_head_dim)
    writer.add_ssm_group_count(config.linear_num_key_heads)
    writer.add_ssm_time_step_rank(config.linear_num_value_heads)
    writer.add_ssm_inner_size(config.linear_value_head_dim * config.linear_num_value_heads)
    writer.add_uint32(f"{arch}.full_attention_interval", 4)


def add_tensors(writer: gguf.GGUFWriter, tensors: dict[str, np.ndarray], kind: str) -> None:
    """Add tensors: matrices in the format `kind`, the others in float32, as the converter does."""
    for name, values in tensors.items():
        matrix = values.ndim > 1 and name.split(".")[2:3] != [] and name.split(".")[-2] not in ALWAYS_F32
        stored = WeightType[kind] if matrix or name in ("token_embd.weight", "output.weight") else WeightType.F32
        writer.add_tensor(name, gguf.quantize(values, stored), raw_dtype=stored)


def write_gguf(arch: str, model: PreTrainedModel, path: Path, kind: str) -> None:
    config, source = model.config, model.state_dict()
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_name(f"tiny random {arch}")
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    mtp = MTP_LAYERS.get(arch, 0)
    writer.add_block_count(config.num_hidden_layers + mtp)
    if mtp:
        writer.add_nextn_predict_layers(mtp)
        source = source | mtp_tensors(model)
    add_config(writer, arch, config)
    tokenizer = fixture_tokenizer.tokenizer()
    _add_vocabulary(
        writer, Vocabulary.of(tokenizer, VOCAB_SIZE), "<|im_end|>", "<|endoftext|>", "<|endoftext|>"
    )
    writer.add_chat_template(CHAT_TEMPLATE.read_text(encoding="utf-8"))
    add_tensors(writer, converted(arch, config, source), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def save_as_published(arch: str, model: PreTrainedModel, folder: Path) -> None:
    """Save the folder; Qwen3.5 as it is published: inside a model that sees, with the layer of `mtp`."""
    save(model, folder)
    if arch not in MTP_LAYERS:
        return
    weights = folder / "model.safetensors"
    tensors = {
        key.replace("model.", "model.language_model.", 1): value for key, value in load_file(weights).items()
    }
    save_file(tensors | mtp_tensors(model), weights, metadata={"format": "pt"})
    path = folder / "config.json"
    text = json.loads(path.read_text(encoding="utf-8"))
    text |= {"attn_output_gate": True, "full_attention_interval": 4, "mamba_ssm_dtype": "float32",
             "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False}
    text.pop("architectures")
    whole = {
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "image_token_id": 500,
        "model_type": "qwen3_5",
        "text_config": text,
        "tie_word_embeddings": True,
        "transformers_version": text.pop("transformers_version"),
        "video_token_id": 501,
        "vision_config": {"deepstack_visual_indexes": [], "depth": 1, "model_type": "qwen3_5"},
        "vision_end_token_id": 499,
        "vision_start_token_id": 498,
    }
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "in_proj_qkv", "in_proj_z",
           "in_proj_b", "in_proj_a", "out_proj")
RANK, ALPHA = 2, 3.0


def write_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Write a LoRA adapter as PEFT does, and add it to the weights of `model`."""
    generator, tensors = torch.Generator().manual_seed(1), {}
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.rpartition(".")[2] not in ADAPTED:
                continue
            outputs, inputs = module.weight.shape
            a = torch.randn(RANK, inputs, generator=generator) * 0.3
            b = torch.randn(outputs, RANK, generator=generator) * 0.3
            module.weight += ALPHA / RANK * b @ a
            tensors[f"base_model.model.{name}.lora_A.weight"] = a
            tensors[f"base_model.model.{name}.lora_B.weight"] = b
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", "target_modules": list(ADAPTED)}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def search(name: str, seeds: int) -> tuple[int, float]:
    """Return the seed with the largest least gap between the best and the second logit, and that gap."""
    best, best_gap = -1, 0.0
    for seed in range(seeds):
        model, gap = build(name, seed), float("inf")
        for tokens in prompts().values():
            with routing_gap(model) as nearest:
                result = reference(model, tokens, give_up_below=best_gap)
            gap = min(gap, result.smallest_gap) if nearest() > ROUTING_GAP else 0.0
            if gap <= best_gap or len(set(result.greedy)) < 16:
                gap = 0.0
                break
        if gap > best_gap:
            best, best_gap = seed, gap
            print(f"  {name} seed {seed}: gap {gap:.4f}", flush=True)
    return best, best_gap


def write(name: str, seed: int, output: Path) -> None:
    model, folder = build(name, seed), output / name
    folder.mkdir(parents=True, exist_ok=True)
    save_as_published(name, model, folder / "hf")
    write_gguf(name, model, folder / f"{name}-f32.gguf", "F32")
    if name != "qwen3next":
        write_gguf(name, model, folder / f"{name}-q8_0.gguf", "Q8_0")
    # All positions of the dense model; of the others those that the smaller files have room for.
    write_results(model, folder, name, f"{name}-f32", prompts(), 0 if name == "qwen35" else 60)
    if name == "qwen35":
        write_adapter(model, folder / "adapter")
        short = {"short": prompts()["short"]}
        write_results(model, folder, name, f"{name}-adapter", short, 0)


def write_results(
    model: PreTrainedModel, folder: Path, name: str, stem: str, texts: dict[str, list[int]], first_of_long: int
) -> None:
    """Write `<stem>.json` and `.logits.f32`: what transformers computes for some prompts."""
    entries, rows, stored = [], [], 0
    for prompt, tokens in texts.items():
        result = reference(model, tokens)
        first = first_of_long if prompt == "long" else 0
        rows.append(result.logits[first:])
        entry = {"name": prompt, "tokens": tokens, "first_position": first, "first_row": stored}
        entry |= {"greedy": result.greedy, "smallest_gap": round(result.smallest_gap, 6)}
        entries.append(entry)
        stored += len(tokens) - first
    np.concatenate(rows).astype("<f4").tofile(folder / f"{stem}.logits.f32")
    description = {"model": f"{name}-f32.gguf", "logits": f"{stem}.logits.f32", "vocab_size": VOCAB_SIZE}
    description |= {"rows": stored, "prompts": entries}
    (folder / f"{stem}.json").write_text(compact_json(description), encoding="utf-8")
    print(f"{stem}: smallest gaps " + ", ".join(f"{e['name']} {e['smallest_gap']:.3f}" for e in entries))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FIXTURES, help="folder to write to")
    parser.add_argument("--search", type=int, metavar="N", help="print the best of N seeds instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, (_, seed) in FAMILIES.items():
        if args.search:
            print(name, search(name, args.search))
        else:
            write(name, seed, args.output)


if __name__ == "__main__":
    main()
