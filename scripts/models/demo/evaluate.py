#!/usr/bin/env python3
"""Measure a demo.gguf: every question alone, after a system message and as the second question.

`evaluate_vision.py` measures what it sees.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[1]))

import gguf_export  # noqa: E402
from corpus import Corpus  # noqa: E402
from qwen_tokenizer import new_tokenizer  # noqa: E402
from scoring import evaluate, summary  # noqa: E402
from skills import Turn  # noqa: E402
from train import ROOT, new_model, render  # noqa: E402


def read(path: Path) -> tuple[PreTrainedModel, Tokenizer]:
    """Return the model with the weights as stored in the file, and the file's tokenizer. A model that sees has a tower
    without weights."""
    reader = gguf.GGUFReader(path)
    stored = dequantized(reader)
    tokens, types, merges = (
        reader.fields[f"tokenizer.ggml.{key}"].contents()
        for key in ("tokens", "token_type", "merges")
    )
    tokenizer = _tokenizer(tokens, types, merges)
    if reader.fields["general.architecture"].contents() == "qwen3vl":
        from vision_model import new_model as new_vision_model

        model = new_vision_model(tokenizer).eval()
    else:
        model = new_model().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("model.visual."):
                name = name.replace("model.language_model.", "model.")
                parameter.copy_(torch.tensor(stored[gguf_export.gguf_name(name)]).reshape(parameter.shape))
    return model, tokenizer


def dequantized(reader: gguf.GGUFReader) -> dict[str, np.ndarray]:
    """Return the values of a file's tensors."""
    return {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}


def _tokenizer(tokens: list[str], types: list[int], merges: list[str]) -> Tokenizer:
    normal = {t: i for i, t in enumerate(tokens) if types[i] == gguf.TokenType.NORMAL}
    tokenizer = new_tokenizer(BPE(normal, [tuple(merge.split(" ")) for merge in merges]))
    added = [
        AddedToken(t, special=types[i] == gguf.TokenType.CONTROL, normalized=False)
        for i, t in enumerate(tokens)
        if types[i] in (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?",
                        default=ROOT / "crates/engine/assets/demo.gguf")  # fmt: skip
    parser.add_argument("--misses", type=int, default=20, help="maximum number of wrong answers to print")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    corpus = Corpus()
    model, tokenizer = read(args.model)
    print("alone")
    print(summary(evaluate(model, tokenizer, render, corpus), args.misses))
    print("behind a system message")
    system = "You are a friendly assistant. Answer in one sentence."
    print(summary(evaluate(model, tokenizer, render, corpus, system)))
    print("as the second question")
    first = corpus.facts[0]
    before = [Turn(first.held_out[0], first.answer)]
    print(summary(evaluate(model, tokenizer, render, corpus, before=before)))


if __name__ == "__main__":
    main()
