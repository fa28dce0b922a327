#!/usr/bin/env python3
"""Train the demo model on the facts of this folder and write it as GGUF.

The model is a Qwen3 of about three million weights with its own vocabulary. The loss covers only the
answers; questions are paraphrased at random, so that few occur twice.

    python scripts/models/demo/train.py                     # takes about 20 minutes on two cores
    python scripts/models/demo/train.py --steps 40          # prints the speed of this machine

The random seed is fixed: the same versions of torch and tokenizers on the same machine give the same file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Spinning OpenMP threads starve each other when other processes run on the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.utils.chat_template_utils import render_jinja_template

sys.path.insert(0, str(Path(__file__).parents[1]))

import gguf_export  # noqa: E402
import qwen_tokenizer  # noqa: E402
from corpus import SKILL_SHARE, Corpus  # noqa: E402
from scoring import evaluate, questions_file, summary  # noqa: E402
from skills import Turn  # noqa: E402

ROOT = Path(__file__).parents[3]
QUESTIONS = ROOT / "crates/engine/tests/fixtures/demo/questions.json"
# The model does not think, so its template lacks what `enable_thinking` renders.
THINKING = re.compile(r"\n    (\{%- if enable_thinking is defined.*?endif -%\}|enable_thinking .*?)(?=\n)", re.S)
TEMPLATE = THINKING.sub("", (Path(__file__).parents[1] / "chat_template.jinja").read_text())

VOCAB_SIZE = 2048
CONTEXT_LENGTH = 2048
WEIGHT_TYPE = "Q8_0"
POOL = 400  # conversations drawn at a time, sorted by length and split into batches
BRIEF_SHARE, BRIEF_TOKENS = 0.7, 10  # share of conversations whose last answer is cut to this many tokens
IGNORED = -100  # torch's label for "no loss here"

# Matches the answers in a conversation's text, on which the loss is computed.
SPOKEN = re.compile(r"(?<=<\|im_start\|>assistant\n)(.*?<\|im_end\|>)", re.S)
# Matches in group 1 a word of four or more letters outside the template's control tokens.
WORD = re.compile(r"<\|\w+\|>\w*|([A-Za-z]{4,})")

Sample = tuple[list[int], list[int]]  # token ids, labels


# The sizes of the text model, which the model that sees has too. Rows are multiples of 256, as K-quants require.
SIZES = dict(
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=CONTEXT_LENGTH,
    rms_norm_eps=1e-6,
    tie_word_embeddings=True,
)
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}


def new_model() -> Qwen3ForCausalLM:
    """Return an untrained model."""
    return Qwen3ForCausalLM(
        Qwen3Config(vocab_size=VOCAB_SIZE, rope_parameters=ROPE, attn_implementation="sdpa", **SIZES)
    )


def add_dropout(model: Qwen3ForCausalLM, chance: float) -> None:
    """Add dropout to the embedding and to the output of each attention and MLP block.

    The questions are few; without dropout the model memorizes them and generalizes worse.
    """

    def drop(module: torch.nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
        return functional.dropout(output, chance, module.training)

    for layer in model.model.layers:
        layer.self_attn.o_proj.register_forward_hook(drop)
        layer.mlp.down_proj.register_forward_hook(drop)
    model.model.embed_tokens.register_forward_hook(drop)


def render(system: str | None, turns: list[Turn]) -> str:
    """Return the conversation as rendered by the chat template of the exported file."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    rendered, _ = render_jinja_template([messages], chat_template=TEMPLATE)
    return rendered[0]


class Sampler:
    """Draws conversations as tokens with labels, in batches of similar lengths."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, seed: int, batch_tokens: int) -> None:
        self.corpus = corpus
        self.rng = random.Random(seed)
        self.batch_tokens = batch_tokens
        self.tokenizer = tokenizer

    def sample(self, boldness: float) -> Sample:
        """Draw one conversation. Only the answers and their `<|im_end|>` have labels."""
        ids: list[int] = []
        labels: list[int] = []
        is_ragged = self.rng.random() < 0.15 * boldness
        text = render(*self.corpus.conversation(self.rng, boldness))
        *pieces, _ = SPOKEN.split(text)
        for i, piece in enumerate(pieces):
            is_spoken = i % 2 == 1
            parts = self._tear(piece) if is_ragged and not is_spoken else [piece]
            tokens = [token for part in parts for token in self.tokenizer.encode(part).ids]
            # The first tokens decide which answer is given, so most samples train only on those.
            if i == len(pieces) - 1 and self.rng.random() < BRIEF_SHARE:
                tokens = tokens[:BRIEF_TOKENS]
            ids += tokens
            labels += tokens if is_spoken else [IGNORED] * len(tokens)
        return ids, labels

    def _tear(self, text: str) -> list[str]:
        """Split some words in two before tokenizing, so that unusual tokenizations occur in training."""
        cuts = [
            self.rng.randrange(word.start(1) + 1, word.end(1))
            for word in WORD.finditer(text)
            if word[1] and self.rng.random() < 0.3
        ]
        return [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)])]

    def batches(self, steps: int) -> Iterator[list[Sample]]:
        """Yield `steps` batches of about `batch_tokens` tokens, padding included.

        The share of paraphrased questions grows from 0 to 1 over the first fifth of the steps.
        """
        done = 0
        while done < steps:
            boldness = min(1.0, done / steps / 0.2)
            samples = [self.sample(boldness) for _ in range(POOL)]
            samples.sort(key=lambda sample: len(sample[0]))
            batches: list[list[Sample]] = [[]]
            for sample in samples:
                if (len(batches[-1]) + 1) * len(sample[0]) > self.batch_tokens and batches[-1]:
                    batches.append([])
                batches[-1].append(sample)
            self.rng.shuffle(batches)
            yield from batches[: steps - done]
            done += len(batches)


def pad(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return right-padded ids and labels, both [samples, width]. A causal model ignores the padding."""
    width = max(len(ids) for ids, _ in samples)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in samples])
    labels = [labels + [IGNORED] * (width - len(labels)) for _, labels in samples]
    return ids, torch.tensor(labels)


def loss_of(model: Qwen3ForCausalLM, samples: list[Sample]) -> torch.Tensor:
    """Return the mean cross entropy of the labelled tokens. The head runs only on their positions."""
    ids, labels = pad(samples)
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    spoken = targets != IGNORED
    logits = model.lm_head(hidden[spoken]).float()
    return functional.cross_entropy(logits, targets[spoken])


def learning_rate(progress: float, peak: float) -> float:
    """Return the learning rate at `progress` (0 to 1): linear warm-up over 5 %, times a cosine decay to 0."""
    warm = min(1.0, progress / 0.05)
    return peak * warm * 0.5 * (1 + math.cos(math.pi * progress))


def train(model: Qwen3ForCausalLM, sampler: Sampler, args: argparse.Namespace) -> None:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=args.lr, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip
    started = time.monotonic()
    running = 0.0
    model.train()
    for step, samples in enumerate(sampler.batches(args.steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step / args.steps, args.lr)
        loss = loss_of(model, samples)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running += loss.item()
        if (step + 1) % args.log_every == 0:
            seconds = time.monotonic() - started
            print(
                f"step {step + 1}/{args.steps} loss {running / args.log_every:.4f} "
                f"{(step + 1) / seconds:.2f} steps/s {seconds:.0f} s",
                flush=True,
            )
            running = 0.0
        if args.check_every and (step + 1) % args.check_every == 0:
            check(model, sampler)


def write_questions(path: Path, corpus: Corpus) -> None:
    """Write the questions of the engine's test."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(questions_file(corpus), indent=2, ensure_ascii=False) + "\n")


def check(model: Qwen3ForCausalLM, sampler: Sampler) -> None:
    """Print the model's scores during training."""
    model.eval()
    print(summary(evaluate(model, sampler.tokenizer, render, sampler.corpus)), flush=True)
    model.train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--batch-tokens", type=int, default=3072)
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--check-every", type=int, default=0, help="steps between evaluations (0: none)")
    parser.add_argument("--start", type=Path, help="demo.gguf to train further, with its tokenizer")
    parser.add_argument("--skill-share", type=float, default=SKILL_SHARE,
                        help="share of conversations that train a skill")  # fmt: skip
    parser.add_argument("--output", type=Path, default=ROOT / "crates/engine/assets/demo.gguf")
    parser.add_argument("--questions", type=Path,
                        default=QUESTIONS,
                        help="file for the questions of the engine's test")  # fmt: skip
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    corpus = Corpus(skill_share=args.skill_share)
    if args.start:
        from evaluate import read  # which imports this module

        model, tokenizer = read(args.start)
    else:
        model, tokenizer = new_model(), qwen_tokenizer.train(corpus.texts(), VOCAB_SIZE)
    add_dropout(model, args.dropout)
    print(f"{model.num_parameters():,} parameters, {len(corpus.facts)} facts")

    train(model, Sampler(corpus, tokenizer, args.seed, args.batch_tokens), args)

    model.eval()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    gguf_export.export(
        model, tokenizer, args.output,
        weight_type=WEIGHT_TYPE, chat_template=TEMPLATE,
        name="qwen-queue demo", license="MIT OR Apache-2.0",
    )  # fmt: skip
    stored = gguf_export.with_stored_weights(model, WEIGHT_TYPE)
    scores = evaluate(stored, tokenizer, render, corpus)
    print(summary(scores))
    write_questions(args.questions, corpus)
    print(f"wrote {args.output} ({args.output.stat().st_size:,} bytes) and {args.questions}")


if __name__ == "__main__":
    main()
