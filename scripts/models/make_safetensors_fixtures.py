#!/usr/bin/env python3
"""Write the tiny models in the layout of a Hugging Face repository, and a model that K-quants can store.

`<family>/hf` next to each family's GGUF files is the model of its F32 file, saved by transformers:
`config.json`, `model.safetensors`, the tokenizer's files and the generation config.

`wide/` is a Qwen3 in bfloat16 with rows of 256 and 512, with the logits and greedy tokens of transformers
in float32 and with GGUF files quantized by llama.cpp. For those the script calls ggml's quantizer, as
llama-quantize does: pass the library (`libggml-base.so` of a build of llama.cpp) as `--ggml`.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config

import fixture_tokenizer
from fixture_tokenizer import VOCAB_SIZE
from gguf_export import Quantizer, WeightType, export
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
    """Check that `model` has the embedding of the GGUF file, whose reference logits then apply to it too."""
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    embedding = model.get_input_embeddings().weight.detach().numpy()
    if not np.array_equal(stored["token_embd.weight"], embedding):
        raise SystemExit(f"{path}: not the model built here; install the pinned version of torch")


def llama_quantizer(library: Path) -> Quantizer:
    """Return ggml's quantizer, without an importance matrix."""
    chunk = ctypes.CDLL(str(library)).ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    floats = ctypes.POINTER(ctypes.c_float)
    wide = ctypes.c_int64
    chunk.argtypes = [ctypes.c_int, floats, ctypes.c_void_p, wide, wide, wide, floats]

    def quantize(values: np.ndarray, kind: WeightType) -> np.ndarray:
        if kind == WeightType.F32:
            return values
        rows, width = values.shape
        block, size = gguf.GGML_QUANT_SIZES[kind]
        out = np.zeros((rows, width // block * size), dtype=np.uint8)
        values = np.ascontiguousarray(values, dtype=np.float32)
        source = values.ctypes.data_as(floats)
        written = chunk(kind.value, source, out.ctypes.data, 0, rows, width, None)
        if written != out.nbytes:
            raise SystemExit(f"ggml wrote {written} bytes instead of {out.nbytes}")
        return out

    return quantize


def write_wide(folder: Path, quantize: Quantizer) -> None:
    exact = build(WIDE, WIDE_SEED)
    with torch.no_grad():
        # Round only the parameters: casting the model would round the rotary frequencies too.
        for parameter in exact.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
    folder.mkdir(parents=True, exist_ok=True)
    save(copy.deepcopy(exact).to(torch.bfloat16), folder / "hf")
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
    for kind, head in (("Q8_0", "Q8_0"), ("Q4_K", "Q6_K")):
        export(
            exact,
            fixture_tokenizer.tokenizer(),
            folder / f"wide-{kind.lower()}.gguf",
            weight_type=kind,
            embedding_type=head,
            chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
            name="tiny random wide qwen3",
            quantize=quantize,
        )
    gaps = ", ".join(f"{e['name']} {e['smallest_gap']:.3f}" for e in entries)
    print(f"wide: smallest gaps {gaps}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FIXTURES, help="folder to write to")
    parser.add_argument("--ggml", type=Path, help="libggml-base.so; without it `wide` is not written")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, family in FAMILIES.items():
        model = build(family, SEEDS[name])
        same_as_gguf(model, FIXTURES / name / f"{name}-f32.gguf")
        save(model, args.output / name / "hf")
    if args.ggml:
        write_wide(args.output / "wide", llama_quantizer(args.ggml))


if __name__ == "__main__":
    main()
