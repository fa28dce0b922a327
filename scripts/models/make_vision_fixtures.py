#!/usr/bin/env python3
"""Write images with the results of transformers' processors, and tiny random vision towers with their outputs.

The processors are those of torchvision, transformers' default. `requirements-vision.txt` has the versions.

The expected pixels are stored as the resized image of bytes, from which `pixel_values` follow by a division per
channel; this script checks that they do, and stores some of them as they are.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from transformers import Qwen2VLImageProcessor
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel, Qwen2_5_VLModel
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel, Qwen2VLModel
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5VisionConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5VisionModel
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel, Qwen3VLVisionModel

OUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/fixtures/vision"

# What the families' processors differ in. The ranges of pixels are smaller than the published ones, so that the
# fixtures are small.
PROCESSORS = {
    "qwen2vl": dict(
        patch_size=14,
        size={"shortest_edge": 3136, "longest_edge": 28 * 28 * 6},
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_std=[0.26862954, 0.26130258, 0.27577711],
    ),
    "qwen3vl": dict(
        patch_size=16,
        size={"shortest_edge": 4096, "longest_edge": 32 * 32 * 6},
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
    image = np.stack(waves, axis=-1)
    image[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = random.integers(0, 256, channels)
    image[(x + y).astype(int) % 17 == 0] = 255
    corner = image[: height // 4 + 1, : width // 4 + 1]
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
        "large": (211, 173),
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
    photo = rgb(picture(120, 90, 32))
    files["photo.jpg"] = saved(photo, "JPEG", quality=90, subsampling=0)
    files["photo-420.jpg"] = saved(photo, "JPEG", quality=85)
    files["photo-progressive.jpg"] = saved(photo, "JPEG", quality=85, progressive=True)
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
        places = np.random.default_rng(index).integers(0, values.size, 24)
        cases.append(
            dict(
                file=name,
                family=family,
                min_pixels=options["size"]["shortest_edge"],
                max_pixels=options["size"]["longest_edge"],
                expected=expected,
                grid=grid,
                tokens=int(np.prod(grid)) // 4,
                samples=[[int(at), float(values.reshape(-1)[at])] for at in places],
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
        for factor, least, most in ((28, 3136, 12845056), (32, 65536, 16777216), (32, 65536, 1024 * 1024)):
            cases.append([height, width, factor, least, most, *smart_resize(height, width, factor, least, most)])
    return cases


TOWERS = {
    "qwen2vl": (
        "qwen2_vl",
        "visual.",
        Qwen2VisionTransformerPretrainedModel,
        Qwen2VLVisionConfig(
            depth=3, embed_dim=16, hidden_size=24, mlp_ratio=2, num_heads=2, patch_size=4, hidden_act="quick_gelu"
        ),
    ),
    "qwen2.5vl": (
        "qwen2_5_vl",
        "model.visual.",
        Qwen2_5_VisionTransformerPretrainedModel,
        Qwen2_5_VLVisionConfig(
            depth=3,
            hidden_size=16,
            out_hidden_size=24,
            intermediate_size=20,
            num_heads=2,
            patch_size=4,
            window_size=32,
            fullatt_block_indexes=[1],
            hidden_act="silu",
        ),
    ),
    "qwen3vl": (
        "qwen3_vl",
        "model.visual.",
        Qwen3VLVisionModel,
        Qwen3VLVisionConfig(
            depth=3,
            hidden_size=16,
            out_hidden_size=24,
            intermediate_size=36,
            num_heads=2,
            patch_size=4,
            num_position_embeddings=49,
            deepstack_visual_indexes=[0, 2],
            hidden_act="gelu_pytorch_tanh",
        ),
    ),
    "qwen3.5": (
        "qwen3_5",
        "model.visual.",
        Qwen3_5VisionModel,
        Qwen3_5VisionConfig(
            depth=2,
            hidden_size=16,
            out_hidden_size=24,
            intermediate_size=36,
            num_heads=2,
            patch_size=4,
            num_position_embeddings=49,
            hidden_act="gelu_pytorch_tanh",
        ),
    ),
}

GRIDS = [[1, 4, 6], [1, 10, 12], [1, 2, 2], [3, 4, 8]]


def noise(count: int, seed: int) -> np.ndarray:
    """Numbers from -1 to 1 that the tests compute in the same way."""
    n = np.arange(count, dtype=np.uint64)
    mixed = (n * np.uint64(2654435761) + np.uint64(seed * 977)) % np.uint64(1 << 32)
    return ((mixed >> np.uint64(8)).astype(np.float64) / (1 << 23) - 1).astype(np.float32)


def randomize(model: torch.nn.Module, seed: int) -> None:
    """Draws weights that are large enough for mistakes to show, and that f16 stores exactly."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "ln_q" in name:
                values = torch.randn_like(weight) * 0.2 + (1 if name.endswith("weight") else 0)
            elif weight.ndim == 1:
                values = torch.randn_like(weight) * 0.3
            elif "pos_embed" in name:
                values = torch.randn_like(weight)
            else:
                values = torch.randn_like(weight) * 1.6 / (weight[0].numel() ** 0.5)
            weight.copy_(values.half().float())


def write_tower(name: str, seed: int) -> None:
    model_type, prefix, kind, config = TOWERS[name]
    config._attn_implementation = "eager"
    model = kind(config).float().eval()
    randomize(model, seed)
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"{prefix}{key}": value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    vision = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
    (folder / "config.json").write_text(
        json.dumps(dict(model_type=model_type, vision_config=vision), indent=1, sort_keys=True) + "\n"
    )
    outputs = []
    for index, grid in enumerate(GRIDS):
        patches = int(np.prod(grid))
        pixels = torch.from_numpy(noise(patches * 3 * 2 * 4 * 4, index).reshape(patches, -1))
        with torch.no_grad():
            result = model(pixels, grid_thw=torch.tensor([grid]), return_dict=True)
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
    cases = write_images()
    for seed, name in enumerate(TOWERS):
        write_tower(name, seed)
    truth = dict(images=cases, sizes=sizes(), positions=positions(), grids=GRIDS)
    (OUT / "vision.json").write_text(json.dumps(truth, separators=(",", ":")).replace('{"file"', '\n{"file"') + "\n")
    total = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{total / 1024:.0f} KiB in all")


if __name__ == "__main__":
    main()
