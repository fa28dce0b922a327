"""Write the tower of a Hugging Face Qwen3-VL as a projector (mmproj) in GGUF, with the names that llama.cpp uses.

    from projector_export import export_projector
    export_projector(model.model.visual, "mmproj.gguf", weight_type="Q8_0", pixels=(65_536, 16_777_216))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as WeightType
from torch import nn

BLOCK_TENSORS = {
    "norm1": "ln1",
    "norm2": "ln2",
    "attn.qkv": "attn_qkv",
    "attn.proj": "attn_out",
    "mlp.linear_fc1": "ffn_up",
    "mlp.linear_fc2": "ffn_down",
}
TENSORS = {
    "patch_embed.proj": "v.patch_embd",
    "pos_embed": "v.position_embd",
    "merger.norm": "v.post_ln",
    "merger.linear_fc1": "mm.0",
    "merger.linear_fc2": "mm.2",
}
DEEPSTACK_TENSORS = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the file, and the part of the tower's parameter that it holds."""

    hf_name: str
    frame: int | None  # of the patch embedding's kernel; None for the whole parameter
    gguf_name: str
    type: WeightType
    data: np.ndarray


def stored_tensors(visual: nn.Module, weight_type: str) -> Iterator[StoredTensor]:
    """Yield the tensors of a tower in file order. Only the matrices of blocks and mergers have `weight_type`."""
    for hf_name, parameter in visual.state_dict().items():
        values = parameter.detach().float().contiguous().numpy()
        name = _gguf_name(hf_name, visual.config.deepstack_visual_indexes)
        if values.ndim == 5:
            for frame in range(values.shape[2]):
                data = gguf.quantize(np.ascontiguousarray(values[:, :, frame]), WeightType.F16)
                yield StoredTensor(hf_name, frame, name + (f".{frame}" if frame else ""), WeightType.F16, data)
            continue
        stored = WeightType[weight_type] if values.ndim == 2 and hf_name != "pos_embed.weight" else WeightType.F32
        yield StoredTensor(hf_name, None, name, stored, gguf.quantize(values, stored))


def _gguf_name(hf_name: str, deepstack: list[int]) -> str:
    module, _, kind = hf_name.rpartition(".")
    if module in TENSORS:
        return f"{TENSORS[module]}.{kind}"
    group, number, part = module.split(".", 2)
    if group == "blocks":
        return f"v.blk.{number}.{BLOCK_TENSORS[part]}.{kind}"
    return f"v.deepstack.{deepstack[int(number)]}.{DEEPSTACK_TENSORS[part]}.{kind}"


@torch.no_grad()
def use_stored_weights(visual: nn.Module, tensors: dict[str, np.ndarray]) -> None:
    """Give a tower the weights of a file: dequantized tensors by their names in the file."""
    parameters = dict(visual.named_parameters())
    for tensor in stored_tensors(visual, "F32"):
        values = torch.from_numpy(np.array(tensors[tensor.gguf_name], dtype=np.float32))
        parameter = parameters[tensor.hf_name]
        parameter = parameter if tensor.frame is None else parameter[:, :, tensor.frame]
        parameter.copy_(values.view_as(parameter))


def export_projector(
    visual: nn.Module,
    path: str | Path,
    *,
    weight_type: str = "F16",
    pixels: tuple[int, int] | None = None,
    name: str = "qwen",
    license: str | None = None,
) -> None:
    """Write a tower to `path`. `pixels` is the range of an image's pixels; by default the file has none."""
    config = visual.config
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_type("mmproj")
    writer.add_name(name)
    if license is not None:
        writer.add_license(license)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "qwen3vl_merger")
    writer.add_bool("clip.use_gelu", True)
    numbers = {
        "image_size": round(config.num_position_embeddings**0.5) * config.patch_size,
        "patch_size": config.patch_size,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "projection_dim": config.out_hidden_size,
        "block_count": config.depth,
        "attention.head_count": config.num_heads,
        "spatial_merge_size": config.spatial_merge_size,
    }
    if pixels is not None:
        numbers |= {"image_min_pixels": pixels[0], "image_max_pixels": pixels[1]}
    for key, number in numbers.items():
        writer.add_uint32(f"clip.vision.{key}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    if config.deepstack_visual_indexes:
        flags = [block in config.deepstack_visual_indexes for block in range(config.depth)]
        writer.add_array("clip.vision.is_deepstack_layers", flags)
    for tensor in stored_tensors(visual, weight_type):
        writer.add_tensor(tensor.gguf_name, tensor.data, raw_dtype=tensor.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
