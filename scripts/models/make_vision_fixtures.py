#!/usr/bin/env python3
"""Write images with the results of transformers' processors, tiny random vision towers with their outputs, and tiny
text models with the logits and greedy tokens that follow from text, images and videos.

`--search N [NAME …]` looks for seeds whose greedy tokens are the most robust. Names alone write these models only.

The processors are those of torchvision, transformers' default. `requirements-vision.txt` has the versions.

The expected pixels are stored as the resized image of bytes, from which `pixel_values` follow by a division per
channel; this script checks that they do, and stores some of them as they are.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5VisionConfig
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

import make_hybrid_fixtures as hybrid

OUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/fixtures/vision"

# What the families' processors differ in. The ranges of pixels are smaller than the published ones, so that the
# fixtures are small.
PROCESSORS = {
    "qwen2vl": dict(
        patch_size=14,
        size={"shortest_edge": 28 * 28 * 2, "longest_edge": 28 * 28 * 4},
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_std=[0.26862954, 0.26130258, 0.27577711],
    ),
    "qwen3vl": dict(
        patch_size=16,
        size={"shortest_edge": 32 * 32 * 2, "longest_edge": 32 * 32 * 4},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    ),
}


def picture(width: int, height: int, seed: int, channels: int = 3) -> np.ndarray:
    """Smooth areas, hard edges and a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [
        127 + 120 * np.sin((x * (1 + c) / max(width, 1) + y * (2 - c * 0.5) / max(height, 1)) * 3 + c + seed)
        for c in range(channels)
    ]
    # Steps compress better than slopes.
    image = np.stack(waves, axis=-1) // 16 * 16
    image[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = random.integers(0, 256, channels)
    image[(x + y).astype(int) % 17 == 0] = 255
    corner = image[: height // 5 + 1, : width // 5 + 1]
    corner += random.normal(0, 12, corner.shape)
    return image.clip(0, 255).astype(np.uint8)


def png_16(values: np.ndarray, color: int) -> bytes:
    """A PNG with 16 bits, which Pillow cannot write in color."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(array: np.ndarray, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    return saved(Image.fromarray(array), kind, exif=exif.tobytes(), **options)


def images() -> dict[str, bytes]:
    """Odd images, each as a file."""
    rgb = Image.fromarray
    files: dict[str, bytes] = {}
    for name, (width, height) in {
        "wide": (131, 37),
        "tall": (23, 150),
        "tiny": (3, 2),
        "dot": (1, 1),
        "line": (180, 1),
        "large": (131, 113),
        "exact": (96, 64),
        "square": (84, 84),
        # Halves of a token, which are rounded to even.
        "half": (98, 70),
        "half32": (80, 48),
    }.items():
        files[f"{name}.png"] = saved(rgb(picture(width, height, len(files))), "PNG")
    files["grey.png"] = saved(rgb(picture(70, 90, 20, 1)[..., 0]), "PNG")
    rgba = picture(90, 60, 21, 4)
    files["alpha.png"] = saved(rgb(rgba), "PNG")
    files["alpha-lossless.webp"] = saved(rgb(rgba), "WEBP", lossless=True, exact=True)
    files["grey-alpha.png"] = saved(rgb(picture(50, 60, 22, 2)), "PNG")
    palette = rgb(picture(80, 60, 23)).quantize(31)
    files["palette.png"] = saved(palette, "PNG")
    files["palette-transparent.png"] = saved(palette, "PNG", transparency=3)
    files["one-bit.png"] = saved(rgb(picture(75, 45, 24)).convert("1"), "PNG")
    files["palette.bmp"] = saved(palette, "BMP")
    frames = [rgb(picture(60, 44, seed)).quantize(63) for seed in (25, 26)]
    files["animated.gif"] = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    frames = [rgb(picture(60, 44, seed)) for seed in (27, 28)]
    files["animated.webp"] = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    for orientation in (3, 6, 7):
        files[f"turned-{orientation}.png"] = with_orientation(picture(66, 40, 29), orientation, "PNG")
    files["turned-5.webp"] = with_orientation(picture(66, 40, 30), 5, "WEBP")
    wide = picture(40, 50, 31, 3).astype(np.uint32) * 257
    wide = ((wide * 255 + 128) // 257).clip(0, 65535)
    files["rgb-16.png"] = png_16(wide, 2)
    files["grey-16.png"] = png_16(wide[..., :1], 0)
    # Decoders of JPEG round differently.
    photo = rgb(picture(90, 70, 32))
    files["photo.jpg"] = saved(photo, "JPEG", quality=90, subsampling=0)
    files["photo-420.jpg"] = saved(photo, "JPEG", quality=85)
    files["photo-progressive.jpg"] = saved(photo, "JPEG", quality=60, progressive=True)
    files["photo-grey.jpg"] = saved(photo.convert("L"), "JPEG", quality=90)
    files["photo-cmyk.jpg"] = saved(photo.convert("CMYK"), "JPEG", quality=90)
    files["photo-turned-8.jpg"] = with_orientation(picture(66, 40, 33), 8, "JPEG")
    return files


def resized_bytes(values: np.ndarray, grid: list[int], options: dict) -> np.ndarray:
    """Returns the resized image that `pixel_values` were made from, and checks that they were."""
    patch = options["patch_size"]
    _, rows, columns = grid
    mean, std = (np.array(options[key], np.float32) for key in ("image_mean", "image_std"))
    blocks = values.reshape(rows // 2, columns // 2, 2, 2, 3, 2, patch, patch)
    assert np.array_equal(blocks[..., 0, :, :], blocks[..., 1, :, :])
    # [block row, row in block, y, block column, column in block, x, channel]
    image = blocks[..., 0, :, :].transpose(0, 2, 5, 1, 3, 6, 4).reshape(rows * patch, columns * patch, 3)
    whole = np.rint((image * std + mean) * 255).astype(np.uint8)
    again = (whole.astype(np.float32) - mean * np.float32(255)) / (std * np.float32(255))
    assert np.abs(again - image).max() < 1e-6, np.abs(again - image).max()
    return whole


def write_images() -> list[dict]:
    cases = []
    folder = OUT / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, data) in enumerate(images().items()):
        (folder / name).write_bytes(data)
        opened = Image.open(io.BytesIO(data))
        image = ImageOps.exif_transpose(opened)
        if opened.mode.startswith("I"):
            # Pillow clips 16 bits of grey to 8 when it converts them to RGB, and takes the high byte of 16 bits of
            # color. Both take the high byte here.
            image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
        family = list(PROCESSORS)[index % 2] if "32" not in name else "qwen3vl"
        options = PROCESSORS[family]
        result = Qwen2VLImageProcessor(**options)(images=[image], return_tensors="np")
        values, grid = result["pixel_values"], result["image_grid_thw"][0].tolist()
        whole = resized_bytes(values, grid, options)
        expected = Path(name).with_suffix(f".{Path(name).suffix[1:]}.expected.png").name
        (folder / expected).write_bytes(saved(Image.fromarray(whole), "PNG", optimize=True))
        places = np.random.default_rng(index).integers(0, values.size, 12)
        cases.append(
            dict(
                file=name,
                family=family,
                min_pixels=options["size"]["shortest_edge"],
                max_pixels=options["size"]["longest_edge"],
                expected=expected,
                grid=grid,
                tokens=int(np.prod(grid)) // 4,
                samples=[[int(at), round(float(values.reshape(-1)[at]), 7)] for at in places],
            )
        )
    return cases


def sizes() -> list[list[int]]:
    """Sizes by the published ranges: height, width, factor, then the resized height and width."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    random = np.random.default_rng(7)
    cases = []
    while len(cases) < 120:
        height, width = (int(2 ** random.uniform(0, 13.5)) for _ in range(2))
        if max(height, width) > 200 * min(height, width):
            continue
        for factor, least, most in ((28, 3136, 12845056), (32, 65536, 1024 * 1024)):
            cases.append([height, width, factor, least, most, *smart_resize(height, width, factor, least, most)])
    return cases


TOWERS = {
    "qwen2vl": (
        "visual.",
        Qwen2VLVisionConfig(
            depth=3, embed_dim=16, hidden_size=32, mlp_ratio=2, num_heads=2, patch_size=4, hidden_act="quick_gelu"
        ),
    ),
    "qwen2.5vl": (
        "visual.",
        Qwen2_5_VLVisionConfig(
            depth=3,
            hidden_size=16,
            out_hidden_size=32,
            intermediate_size=20,
            num_heads=2,
            patch_size=4,
            window_size=32,
            fullatt_block_indexes=[1],
            hidden_act="silu",
            # The time of a video's pairs of frames is their index.
            tokens_per_second=1,
        ),
    ),
    "qwen3vl": (
        "model.visual.",
        Qwen3VLVisionConfig(
            depth=3,
            hidden_size=16,
            out_hidden_size=32,
            intermediate_size=36,
            num_heads=2,
            patch_size=4,
            num_position_embeddings=49,
            deepstack_visual_indexes=[0, 2],
            hidden_act="gelu_pytorch_tanh",
        ),
    ),
    "qwen3.5": (
        "model.visual.",
        Qwen3_5VisionConfig(
            depth=2,
            hidden_size=16,
            out_hidden_size=32,
            intermediate_size=36,
            num_heads=2,
            patch_size=4,
            num_position_embeddings=49,
            hidden_act="gelu_pytorch_tanh",
        ),
    ),
}

# The tower of the model with experts is that of Qwen3-VL, under another name.
TOWERS["qwen3vlmoe"] = TOWERS["qwen3vl"]

# The text models of the towers.
# Bytes, a merged token, markers.
VOCABULARY, BYTES, IMAGE, VIDEO, START, END = 264, 256, 260, 261, 262, 263
TEXT = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
    bos_token_id=BYTES,
    eos_token_id=BYTES + 2,
)
TOKENS = dict(image_token_id=IMAGE, video_token_id=VIDEO, vision_start_token_id=START, vision_end_token_id=END)
# A small theta, so that positions in height and width matter.
MODELS = {
    "qwen2vl": (
        Qwen2VLForConditionalGeneration,
        Qwen2VLConfig,
        TEXT | dict(rope_parameters={"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]}),
        [2, 3, 3, 0],
    ),
    "qwen3vl": (
        Qwen3VLForConditionalGeneration,
        Qwen3VLConfig,
        TEXT
        | dict(
            head_dim=16,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 100.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        ),
        [4, 2, 2, 0],
    ),
}
MODELS["qwen2.5vl"] = (Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig, *MODELS["qwen2vl"][2:])
MODELS["qwen3vlmoe"] = (
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLMoeConfig,
    MODELS["qwen3vl"][2] | dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24),
    [4, 2, 2, 0],
)
MODELS["qwen3.5"] = (
    Qwen3_5ForConditionalGeneration,
    Qwen3_5Config,
    TEXT
    | dict(
        num_hidden_layers=4,
        head_dim=32,
        linear_conv_kernel_dim=4,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=6,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 100.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    ),
    [4, 2, 2, 0],
)
# Of 60 seeds those with the widest gap between the best and the second logit of all greedy steps.
SEEDS = {"qwen3.5": 0, "qwen2vl": 31, "qwen2.5vl": 50, "qwen3vl": 0, "qwen3vlmoe": 4}
GREEDY = 48
# The last tokens of each prompt whose logits are stored.
STORED = 8
# Texts as lengths, images and videos as grids.
PROMPTS = {
    "text": [9],
    "image": [3, (IMAGE, [1, 4, 6]), 4],
    "images": [1, (IMAGE, [1, 2, 2]), 2, (IMAGE, [1, 10, 12]), (IMAGE, [1, 6, 4]), 5],
    "later turn": [40, (IMAGE, [1, 8, 4]), 6],
    # Time stays below the sides of the grid, where all rules for the position after a video agree.
    "video": [4, (VIDEO, [2, 6, 8]), 3, (IMAGE, [1, 4, 4]), 2],
}

GRIDS = [[1, 4, 6], [1, 10, 12], [1, 2, 2], [3, 4, 8]]


def noise(count: int, seed: int) -> np.ndarray:
    """Numbers from -1 to 1 that the tests compute in the same way."""
    n = np.arange(count, dtype=np.uint64)
    mixed = (n * np.uint64(2654435761) + np.uint64(seed * 977)) % np.uint64(1 << 32)
    return ((mixed >> np.uint64(8)).astype(np.float64) / (1 << 23) - 1).astype(np.float32)


def is_hybrid(model: torch.nn.Module) -> bool:
    return isinstance(model, Qwen3_5ForConditionalGeneration)


def randomize(model: torch.nn.Module, seed: int) -> None:
    """Draws weights that are large enough for mistakes to show, and that f16 stores exactly."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "ln_q" in name:
                zero_centred = is_hybrid(model) and "language_model" in name and "linear_attn.norm" not in name
                values = torch.randn_like(weight) * 0.2 + (1 if name.endswith("weight") and not zero_centred else 0)
            elif weight.ndim == 1:
                values = torch.randn_like(weight) * 0.3
            elif "pos_embed" in name:
                values = torch.randn_like(weight)
            elif "experts" in name:
                values = torch.randn_like(weight) * 1.6 / (weight.shape[-1] ** 0.5)
            else:
                values = torch.randn_like(weight) * 1.6 / (weight[0].numel() ** 0.5)
            weight.copy_(values.half().float())


def prompt(name: str, items: list, seed: int) -> tuple[list[int], list[list]]:
    """Returns the tokens of a prompt, and the place, kind and grid of each of its images and videos."""
    random = np.random.default_rng(seed)
    tokens: list[int] = []
    spans: list[list] = []
    for item in items:
        if isinstance(item, int):
            tokens += random.integers(0, BYTES, item).tolist()
            continue
        kind, (time, height, width) = item
        # In Qwen3-VL each pair of frames of a video is an image of its own, after the text of its time.
        apart = kind == VIDEO and name.startswith("qwen3")
        for grid in [[1, height, width]] * time if apart else [[time, height, width]]:
            if apart:
                tokens += random.integers(0, BYTES, 3).tolist()
            spans.append([len(tokens) + 1, 2 if kind == VIDEO else 1, grid])
            tokens += [START, *[kind] * (int(np.prod(grid)) // 4), END]
    return tokens, spans


def run(model: torch.nn.Module, name: str, tokens: list[int], spans: list[list], items: list) -> np.ndarray:
    """Returns the logits of all tokens."""
    patch = 3 * 2 * 4 * 4
    inputs: dict[str, torch.Tensor] = {}
    for kind, pixels, grids in ((1, "pixel_values", "image_grid_thw"), (2, "pixel_values_videos", "video_grid_thw")):
        # Pixels are numbered by the place of the image or the video, or of its pair of frames, in the prompt.
        values = [
            noise(int(np.prod(grid)) * patch, 100 + index).reshape(-1, patch)
            for index, (_, of, grid) in enumerate(spans)
            if of == kind
        ]
        if values:
            inputs[pixels] = torch.from_numpy(np.concatenate(values))
            wanted = {1: IMAGE, 2: VIDEO}[kind]
            inputs[grids] = torch.tensor([i[1] for i in items if not isinstance(i, int) and i[0] == wanted])
    ids = torch.tensor([tokens])
    kinds = (ids == IMAGE).int() + 2 * (ids == VIDEO).int()
    with torch.no_grad():
        model.model.rope_deltas = None
        return model(input_ids=ids, mm_token_type_ids=kinds, use_cache=False, **inputs).logits[0].numpy()


def build(name: str, seed: int) -> torch.nn.Module:
    kind, config, text, _ = MODELS[name]
    vision = {key: value for key, value in TOWERS[name][1].to_dict().items() if not key.startswith("_")}
    model = kind(config(text_config=text, vision_config=vision, tie_word_embeddings=False, **TOKENS))
    model = model.float().eval()
    model.set_attn_implementation("eager")
    randomize(model, seed)
    # Markers are never the likeliest.
    with torch.no_grad():
        model.lm_head.weight[BYTES:] = 0
    return model


def greedy(model: torch.nn.Module, name: str, least: float = 0.0) -> tuple[list[dict], list[np.ndarray]] | None:
    """Returns the greedy tokens after each prompt, and the logits of the prompts' last tokens; `None` if two logits
    are closer than `least`."""
    cases, logits = [], []
    for number, (label, items) in enumerate(PROMPTS.items()):
        tokens, spans = prompt(name, items, number)
        rows = run(model, name, tokens, spans, items)
        logits.append(rows[-STORED:])
        answer: list[int] = []
        gap = float("inf")
        while len(answer) < GREEDY:
            best, second = np.sort(rows[-1])[::-1][:2]
            gap = min(gap, float(best - second))
            if gap < least:
                return None
            answer.append(int(rows[-1].argmax()))
            rows = run(model, name, tokens + answer, spans, items)
        cases.append(dict(name=label, tokens=tokens, spans=spans, greedy=answer, smallest_gap=round(gap, 5)))
    return cases, logits


def write_text(name: str, model: torch.nn.Module, path: Path) -> None:
    """Writes the text model as GGUF, in f16."""
    if is_hybrid(model):
        return write_hybrid_text(model, path)
    *_, text, sections = MODELS[name]
    # Qwen2.5-VL has the text model of Qwen2-VL.
    writer = gguf.GGUFWriter(path, name.replace("qwen2.5", "qwen2"))
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_key_length(16)
    writer.add_value_length(16)
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(text["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_sections(sections)
    if name.startswith("qwen3vl"):
        writer.add_uint32(f"{name}.n_deepstack_layers", 2)
    if "num_experts" in text:
        writer.add_expert_count(text["num_experts"])
        writer.add_expert_used_count(text["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(text["moe_intermediate_size"])
    add_vocabulary(writer, "qwen2")
    names = {
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
    }
    for key, value in model.state_dict().items():
        if ".visual." in key:
            continue
        stem, kind = key.removeprefix("model.").removeprefix("language_model.").rsplit(".", 1)
        if stem.endswith("mlp.experts"):
            # [experts, outputs, inputs]; transformers keeps gate and up together.
            layer = f"blk.{stem.split('.')[1]}"
            parts = dict(ffn_down_exps=value)
            if kind == "gate_up_proj":
                parts = dict(zip(("ffn_gate_exps", "ffn_up_exps"), value.chunk(2, dim=1)))
            for part, values in parts.items():
                writer.add_tensor(f"{layer}.{part}.weight", values.contiguous().numpy().astype(np.float16))
            continue
        if stem.startswith("layers."):
            _, layer, rest = stem.split(".", 2)
            stem = f"blk.{layer}.{names[rest]}"
        else:
            stem = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}[stem]
        numbers = value.numpy()
        # Routers stay f32, as converters leave them.
        exact = numbers.ndim < 2 or "ffn_gate_inp" in stem
        writer.add_tensor(f"{stem}.{kind}", numbers if exact else numbers.astype(np.float16))
    finish(writer)


def write_hybrid_text(model: torch.nn.Module, path: Path) -> None:
    """Writes the text model of a Qwen3.5 as GGUF, as llama.cpp's converter does."""
    config = model.config.text_config
    source = {
        key.replace("model.language_model.", "model."): value
        for key, value in model.state_dict().items()
        if ".visual." not in key
    }
    writer = gguf.GGUFWriter(path, "qwen35")
    writer.add_block_count(config.num_hidden_layers)
    hybrid.add_config(writer, "qwen35", config)
    add_vocabulary(writer, "qwen35")
    hybrid.add_tensors(writer, hybrid.converted("qwen35", config, source), "F16")
    finish(writer)


def add_vocabulary(writer: gguf.GGUFWriter, splits: str) -> None:
    tokens = list(bytes_to_unicode().values())
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "Ġt"]
    tokens += ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splits)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(["Ġ t"])
    writer.add_eos_token_id(BYTES + 2)
    writer.add_bos_token_id(BYTES)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_config(model: torch.nn.Module, folder: Path) -> None:
    """Writes the config that transformers saves, and the names and shapes of the tensors that it saves."""
    with tempfile.TemporaryDirectory() as saved_to:
        model.save_pretrained(saved_to)
        (folder / "config.json").write_text((Path(saved_to) / "config.json").read_text())
        with safe_open(Path(saved_to) / "model.safetensors", "pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}
    if is_hybrid(model):
        return  # `model.safetensors` has the tensors themselves
    text = json.dumps(shapes, separators=(",", ":")).replace('],"', '],\n"')
    (folder / "tensors.json").write_text(text + "\n")


def write_model(name: str, seed: int) -> torch.nn.Module:
    """Writes a text model with the results of the whole model, which it returns."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    model = build(name, seed)
    cases, logits = greedy(model, name)
    write_text(name, model, folder / "text.gguf")
    write_config(model, folder)
    (folder / "text.json").write_text(json.dumps(cases, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
    np.concatenate(logits).astype("<f4").tofile(folder / "logits.f32")
    print(f"{name}: gaps {[case['smallest_gap'] for case in cases]}, {[len(set(c['greedy'])) for c in cases]} tokens")
    return model


def search(name: str, seeds: int) -> None:
    best = (0.0, 0)
    for seed in range(seeds):
        found = greedy(build(name, seed), name, best[0])
        if found is None:
            continue
        cases, _ = found
        gap = min(case["smallest_gap"] for case in cases)
        various = min(len(set(case["greedy"])) for case in cases)
        if various >= 6 and gap > best[0]:
            best = (gap, seed)
            print(name, best, flush=True)


def write_whole(name: str) -> None:
    """Writes a model: the text model, the tower, and their results."""
    folder = OUT / name
    model = write_model(name, SEEDS[name])
    tower = model.model.visual
    if is_hybrid(model):
        # The whole model under the names of its publishers, since its text model's names and order differ in GGUF.
        weights = model.state_dict()
    else:
        weights = {f"{TOWERS[name][0]}{key}": value for key, value in tower.state_dict().items()}
    weights = {key: value.half().contiguous() for key, value in weights.items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    outputs = []
    for index, grid in enumerate(GRIDS):
        patches = int(np.prod(grid))
        pixels = torch.from_numpy(noise(patches * 3 * 2 * 4 * 4, index).reshape(patches, -1))
        with torch.no_grad():
            result = tower(pixels, grid_thw=torch.tensor([grid]), return_dict=True)
        rows = [result.pooler_output, *(getattr(result, "deepstack_features", None) or [])]
        outputs += [row.float().numpy().reshape(-1) for row in rows]
    np.concatenate(outputs).astype("<f4").tofile(folder / "outputs.f32")
    print(f"{name}: rows from {min(o.min() for o in outputs):.2f} to {max(o.max() for o in outputs):.2f}")


def positions() -> list[dict]:
    """Positions of prompts by transformers. Videos of Qwen2.5-VL are so short that their time stays below the longer
    side of the grid: from 5.3 on, transformers continues after that side and ignores the time (issue 45381)."""
    cases = []
    image, video = 1, 2
    for family, model, items in [
        # A prompt is a list of lengths of texts and of (kind, grid).
        ("qwen2vl", Qwen2VLModel, [3, (image, [1, 4, 6]), 2]),
        ("qwen2vl", Qwen2VLModel, [(image, [1, 2, 2]), 1, (image, [1, 10, 4]), (image, [1, 4, 4]), 5]),
        ("qwen2vl", Qwen2VLModel, [2, (video, [3, 6, 6]), 4, (image, [1, 4, 8]), 1]),
        ("qwen2.5vl", Qwen2_5_VLModel, [2, (video, [3, 4, 12]), 4]),
        ("qwen2.5vl", Qwen2_5_VLModel, [1, (image, [1, 6, 2]), 4, (video, [2, 8, 8]), 3]),
        ("qwen3vl", Qwen3VLModel, [4, (image, [1, 4, 6]), 2, (image, [1, 8, 2]), 3]),
        ("qwen3vl", Qwen3VLModel, [2, (video, [1, 4, 6]), 5, (video, [1, 4, 6]), 3, (image, [1, 2, 4]), 1]),
    ]:
        kinds: list[int] = []
        for item in items:
            if isinstance(item, int):
                kinds += [0] * item
            else:
                # Neighbours are told apart by the markers around them.
                kinds += [0] + [item[0]] * (int(np.prod(item[1])) // 4) + [0]
        grids = {
            kind: torch.tensor([i[1] for i in items if not isinstance(i, int) and i[0] == kind]) for kind in (image, video)
        }
        grids = {kind: grid if grid.numel() else None for kind, grid in grids.items()}
        this = SimpleNamespace(
            config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=2))
        )
        this.get_vision_position_ids = lambda *args, **kwargs: model.get_vision_position_ids(this, *args, **kwargs)
        options = {"second_per_grid_ts": torch.tensor([2 / 3.0])} if family == "qwen2.5vl" else {}
        kinds_tensor = torch.tensor([kinds])
        ids, delta = model.get_rope_index(
            this, kinds_tensor, kinds_tensor.int(), grids[image], grids[video], **options
        )
        spans, start = [], 0
        for item in items:
            if isinstance(item, int):
                start += item
            else:
                spans.append([start + 1, item[0], item[1]])
                start += int(np.prod(item[1])) // 4 + 2
        cases.append(
            dict(family=family, tokens=len(kinds), spans=spans, fps=3.0, ids=ids[:, 0].T.tolist(), delta=int(delta))
        )
    return cases


def main() -> None:
    if sys.argv[1:2] == ["--search"]:
        for name in sys.argv[3:] or MODELS:
            search(name, int(sys.argv[2]))
        return
    for name in sys.argv[1:] or TOWERS:
        write_whole(name)
    if sys.argv[1:]:
        return
    cases = write_images()
    truth = dict(images=cases, sizes=sizes(), positions=positions(), grids=GRIDS)
    (OUT / "vision.json").write_text(json.dumps(truth, separators=(",", ":")).replace('{"file"', '\n{"file"') + "\n")
    total = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{total / 1024:.0f} KiB in all")


if __name__ == "__main__":
    main()
