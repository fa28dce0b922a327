#!/usr/bin/env python3
"""Write the tiny models as a hub repository holds them, and one that K-quants fit.

`<family>/hf` beside each family's GGUF files is the very model of its F32 file, saved by transformers:
`config.json`, `model.safetensors`, the tokenizer's files and the generation config.

`wide/` is a Qwen3 with rows of 256 and 512, in bfloat16: what transformers says of it in float32, and
the GGUF files that llama.cpp's quantizer makes of it. Give its path by `--llama-quantize`.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config

import fixture_tokenizer
from fixture_tokenizer import VOCAB_SIZE
from gguf_export import export
from make_fixtures import (
    CHAT_TEMPLATE,
    FAMILIES,
    FIXTURES,
    SEEDS,
    SHAPE,
    Family,
    build,
    compact_json,
    prompts,
    reference,
    rope,
)

WIDE = Family(
    Qwen3Config(
        **SHAPE
        | dict(
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=1,
            head_dim=64,
            tie_word_embeddings=True,
            rope_parameters=rope(1e6),
        )
    )
)
WIDE_SEED = 7


def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=fixture_tokenizer.tokenizer(),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
    )


def save(model: PreTrainedModel, folder: Path) -> None:
    model = copy.deepcopy(model)
    model.generation_config.do_sample = True
    model.generation_config.eos_token_id = [505, 503]
    model.generation_config.pad_token_id = 503
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def same_as_gguf(model: PreTrainedModel, path: Path) -> None:
    """The safetensors hold the bits of the GGUF file whose logits are the truth."""
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    embedding = model.get_input_embeddings().weight.detach().numpy()
    if not np.array_equal(stored["token_embd.weight"], embedding):
        raise SystemExit(f"{path}: another model than the one built here; pin torch's version")


def write_wide(folder: Path, quantizer: Path) -> None:
    model = build(WIDE, WIDE_SEED).to(torch.bfloat16)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder / "hf")
    exact = copy.deepcopy(model).float()
    entries, rows, stored = [], [], 0
    for name, tokens in prompts().items():
        result = reference(exact, tokens)
        first = len(tokens) - 1 if name == "long" else 0
        rows.append(result.logits[first:])
        entries.append(
            {
                "name": name,
                "tokens": tokens,
                "first_position": first,
                "first_row": stored,
                "greedy": result.greedy,
                "smallest_gap": round(result.smallest_gap, 6),
            }
        )
        stored += len(tokens) - first
    np.concatenate(rows).astype("<f4").tofile(folder / "wide-bf16.logits.f32")
    description = {
        "model": "hf",
        "logits": "wide-bf16.logits.f32",
        "vocab_size": VOCAB_SIZE,
        "rows": stored,
        "prompts": entries,
    }
    (folder / "wide-bf16.json").write_text(compact_json(description), encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "wide-f32.gguf"
        template = CHAT_TEMPLATE.read_text(encoding="utf-8")
        export(
            exact,
            fixture_tokenizer.tokenizer(),
            whole,
            weight_type="F32",
            chat_template=template,
            name="tiny random wide qwen3",
        )
        for kind, head in (("Q8_0", "q8_0"), ("Q4_K", "q6_K")):
            out = folder / f"wide-{kind.lower()}.gguf"
            # `--pure`: every matrix in this format; the head, which is the embedding here, apart.
            arguments = ["--pure", "--token-embedding-type", head, whole, out, kind]
            subprocess.run([quantizer, *arguments], check=True, capture_output=True)
    gaps = ", ".join(f"{e['name']} {e['smallest_gap']:.3f}" for e in entries)
    print(f"wide: smallest gaps {gaps}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FIXTURES, help="where the fixtures go")
    parser.add_argument("--llama-quantize", type=Path, help="llama.cpp's quantizer, for `wide`")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, family in FAMILIES.items():
        model = build(family, SEEDS[name])
        same_as_gguf(model, FIXTURES / name / f"{name}-f32.gguf")
        save(model, args.output / name / "hf")
    if args.llama_quantize:
        write_wide(args.output / "wide", args.llama_quantize)


if __name__ == "__main__":
    main()
