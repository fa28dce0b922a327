#!/usr/bin/env python3
"""Teach the demo model to see: train a tiny Qwen3-VL that starts from the text model.

The first steps train the tower alone to tell what each patch shows, on pictures full of words; the next ones the text
model alone, on conversations about pictures and its own conversations; the rest train the whole model on all of these.
Every picture is drawn anew.

    python scripts/models/demo/train_vision.py --folder runs/vl                  # hours on two cores
    python scripts/models/demo/train_vision.py --folder runs/vl --tower scripts/models/demo/tower.gguf --tower-steps 160
    python scripts/models/demo/train_vision.py --folder runs/vl --start runs/old/demo.gguf \
        --tower runs/old/mmproj-demo.gguf --tower-steps 0     # from the files of another run
    python scripts/models/demo/train_vision.py --folder runs/vl --resume         # after a stop
    python scripts/models/demo/train_vision.py --folder /tmp/smoke --overfit 32  # minutes: a check of the code

SIGTERM or SIGINT stops it after the step, with a checkpoint. `--folder` gets `log.txt` and `checkpoint.pt`, which
`evaluate_vision.py` measures and `export_vision.py` exports. The samples of a step follow from the seed and its number.
After a resumption the learning rate follows the new `--steps`.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import Qwen3VLForConditionalGeneration

sys.path.insert(0, str(Path(__file__).parents[1]))

import projector_export  # noqa: E402
import qwen_tokenizer  # noqa: E402
import vision_model  # noqa: E402
from acting import Acting  # noqa: E402
from corpus import Corpus  # noqa: E402
from evaluate import dequantized, read  # noqa: E402
from looking import Looking  # noqa: E402
from train import ROOT, Sampler, pad  # noqa: E402
from vision_data import MERGE, Conversations, Encoder, Patches, Sample, picture_patches, produce  # noqa: E402

HINT_WEIGHTS = {"letters": 0.5, "blank": 1.0, "places": 0.5, "kinds": 0.5, "colors": 0.5, "ranks": 0.3, "names": 0.3, "counts": 0.3, "boxes": 0.5}
# Tokens of one pass of the text model, padding included.
PASS_TOKENS = 2048


class Trainer:
    """The model, its optimizers and its progress."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.folder: Path = args.folder
        self.step = 0
        torch.manual_seed(args.seed)
        self.corpus, self.looking = Corpus(), Looking()
        self.tokenizer: Tokenizer
        self.model, self.tokenizer = read(args.start)
        if not isinstance(self.model, Qwen3VLForConditionalGeneration):
            text, old = self.model, self.tokenizer
            self.tokenizer = qwen_tokenizer.extend(old, self.looking.texts() + Acting().texts(), vision_model.VOCAB_SIZE)
            self.model = vision_model.new_model(self.tokenizer)
            vision_model.start_from(self.model, self.tokenizer, text, old)
        vision_model.for_images(self.model)
        if args.tower:
            projector_export.use_stored_weights(self.model.model.visual, dequantized(gguf.GGUFReader(args.tower)))
        else:
            pictures = random.Random(f"{args.seed}/first")
            first = [picture_patches(self.looking.picture(pictures, dense=True)).pixels for _ in range(200)]
            vision_model.whiten(self.model, np.concatenate(first))
        self.hints = vision_model.Hints()
        self.dropout = 0.0
        self._add_dropout()
        self.optimizers = self._optimizers()

    def _add_dropout(self) -> None:
        """As in `train.add_dropout`, for text only: pictures never repeat."""

        def drop(module: torch.nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
            return functional.dropout(output, self.dropout, module.training)

        language = self.model.model.language_model
        for module in (language.embed_tokens, *(m for layer in language.layers for m in (layer.self_attn.o_proj, layer.mlp.down_proj))):
            module.register_forward_hook(drop)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the matrices of all blocks, AdamW for the rest: groups of the tower, the text model and the hints."""
        visual, language = self.model.model.visual, self.model.model.language_model
        matrices, others = [], []
        for module, blocks, peak in ((visual, visual.blocks, self.args.lr), (language, language.layers, self.args.text_lr)):
            chosen = [p for p in blocks.parameters() if p.ndim == 2]
            known = {id(p) for p in chosen}
            matrices.append({"params": chosen, "weight_decay": 0.05, "peak": peak})
            others.append({"params": [p for p in module.parameters() if id(p) not in known], "weight_decay": 0.0, "peak": peak})
        others.append({"params": list(self.hints.parameters()), "weight_decay": 0.0, "peak": self.args.lr})
        muon = torch.optim.Muon(matrices, lr=self.args.lr, adjust_lr_fn="match_rms_adamw")
        adam = torch.optim.AdamW(others, lr=self.args.lr, betas=(0.9, 0.98), fused=True)
        return [muon, adam]

    def set_rates(self) -> None:
        """Linear warm-up of each part when it begins, constant, linear decay over the last third."""
        args = self.args
        decay = min(1.0, (args.steps - self.step) / (args.steps / 3))
        tower_since = self.step if self.step < args.tower_steps else self.step - args.joint_from
        for optimizer in self.optimizers:
            for group, since in zip(optimizer.param_groups, (tower_since, self.step - args.tower_steps, self.step)):
                warm = min(1.0, max(0.0, (since + 1) / args.warmup))
                group["lr"] = group["peak"] * warm * decay

    def save(self) -> None:
        state = dict(
            step=self.step, model=self.model.state_dict(), hints=self.hints.state_dict(),
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers], tokenizer=self.tokenizer.to_str(),
        )  # fmt: skip
        torch.save(state, self.folder / "checkpoint.new")
        os.replace(self.folder / "checkpoint.new", self.folder / "checkpoint.pt")

    def load(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", weights_only=True)
        self.step = state["step"]
        if self.step <= self.args.tower_steps:
            # The text model is still the one that the training starts from.
            state["model"] = {name: value for name, value in state["model"].items() if name.startswith("model.visual.")}
            state["tokenizer"] = self.tokenizer.to_str()
        self.model.load_state_dict(state["model"], strict=self.step > self.args.tower_steps)
        self.hints.load_state_dict(state["hints"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            peaks = [group["peak"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, peak in zip(optimizer.param_groups, peaks):
                group["peak"] = peak
        self.tokenizer = Tokenizer.from_str(state["tokenizer"])
        self.model.config.image_token_id = self.tokenizer.token_to_id("<|image_pad|>")

    def draw(self, step: int) -> tuple[list[Sample], list]:
        """Draw the samples of a step: conversations about pictures, and of text."""
        args = self.args
        rng = random.Random(f"{args.seed}/{step if not args.overfit else 0}")
        towering, joint = step < args.tower_steps, step >= args.joint_from
        # Pictures get richer twice: for the tower, and when the text model joins.
        ease = step / (0.5 * args.tower_steps) if towering else 0.3 + (step - args.tower_steps) / (0.1 * args.steps)
        conversations = Conversations(self.corpus, self.looking, Encoder(self.tokenizer))
        samples: list[Sample] = []
        patches = 0
        while patches < args.patches and not (args.overfit and len(samples) == args.overfit):
            # When both learn, some patches are for the tower alone.
            if towering or joint and patches > 0.85 * args.patches and not args.overfit:
                picture = self.looking.picture(rng, min(1.0, ease) if towering else 1.0, dense=True)
                samples.append(Sample(patches=[picture_patches(picture)]))
            else:
                samples.append(conversations.draw(rng, min(1.0, ease)))
            patches += sum(len(image.pixels) for image in samples[-1].patches)
        if towering or args.overfit:
            return samples, []
        sampler = Sampler(self.corpus, self.tokenizer, 0, args.text_tokens)
        sampler.rng = rng
        texts, tokens = [], 0
        while tokens < args.text_tokens:
            texts.append(sampler.sample(1.0))
            tokens += len(texts[-1][0])
        return samples, texts

    def losses(self, samples: list[Sample], texts: list) -> dict[str, torch.Tensor]:
        images: list[Patches] = sorted((i for s in samples for i in s.patches), key=lambda image: len(image.pixels))
        learning = not self.args.tower_steps <= self.step < self.args.joint_from
        with torch.set_grad_enabled(learning):
            seen = vision_model.see(self.model, images)
        losses = self.hints.losses(seen, images)
        total = sum(HINT_WEIGHTS[name.split()[1]] * loss for name, loss in losses.items())
        if self.step < self.args.tower_steps:
            return losses | {"total": total}
        losses["answers"] = self._answers(samples, seen, images)
        total = total * self.args.hint_weight + losses["answers"]
        if texts:
            self.dropout = self.args.dropout
            losses["text"] = self._text(texts)
            self.dropout = 0.0
            total = total + losses["text"]
        return losses | {"total": total}

    def _answers(self, samples: list[Sample], seen, images: list[Patches]) -> torch.Tensor:  # noqa: ANN001
        rows, start = {}, 0
        for image in images:
            stop = start + len(image.pixels) // MERGE**2
            rows[id(image)] = torch.arange(start, stop)
            start = stop
        image_id = self.model.config.image_token_id
        loss, weight = 0.0, 0.0
        for part in parts([sample for sample in samples if sample.ids]):
            width = max(len(sample.ids) for sample in part)
            ids = torch.zeros(len(part), width, dtype=torch.long)
            weights = torch.zeros(len(part), width)
            positions = torch.zeros(3, len(part), width, dtype=torch.long)
            for i, sample in enumerate(part):
                ids[i, : len(sample.ids)] = torch.tensor(sample.ids)
                weights[i, : len(sample.ids)] = torch.tensor(sample.weights)
                positions[:, i, : len(sample.ids)] = torch.from_numpy(sample.positions(image_id))
            index = torch.cat([torch.empty(0, dtype=torch.long), *(rows[id(i)] for s in part for i in s.patches)])
            deep = [values[index] for values in seen.deepstack_features]
            states = vision_model.read_text(self.model, ids, positions, seen.pooler_output[index], deep)[:, :-1]
            spoken = weights[:, 1:] > 0
            logits = self.model.lm_head(states[spoken]).float()
            each = functional.cross_entropy(logits, ids[:, 1:][spoken], reduction="none")
            loss = loss + (each * weights[:, 1:][spoken]).sum()
            weight += float(weights[:, 1:].sum())
        return loss / weight

    def _text(self, texts: list) -> torch.Tensor:
        ids, labels = pad(texts)
        positions = torch.arange(ids.shape[1]).expand(3, *ids.shape)
        states = vision_model.read_text(self.model, ids, positions)[:, :-1]
        spoken = labels[:, 1:] >= 0
        logits = self.model.lm_head(states[spoken]).float()
        return functional.cross_entropy(logits, labels[:, 1:][spoken])

    def run(self) -> None:
        self.model.train()
        stopping: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: stopping.append(number))
        log = (self.folder / "log.txt").open("a")
        sums: dict[str, float] = defaultdict(float)
        pictures = counted = 0
        started = saved = time.monotonic()
        first = self.step
        for samples, texts in produce(self.draw, self.step, self.args.steps):
            self.set_rates()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.args.bfloat16):
                losses = self.losses(samples, texts)
            losses["total"].backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            self.step += 1
            pictures += sum(len(sample.patches) for sample in samples)
            counted += 1
            for name, loss in losses.items():
                sums[name] += loss.item()
            if self.step % self.args.log_every == 0:
                seconds = time.monotonic() - started
                shown = " ".join(f"{name.replace(' ', '.')} {value / counted:.3f}" for name, value in sums.items())
                line = f"step {self.step}/{self.args.steps} {shown} | {pictures / seconds:.1f} pictures/s {(self.step - first) / seconds:.2f} steps/s {seconds:.0f} s"
                print(line, file=log, flush=True)
                print(line, flush=True)
                sums.clear()
                counted = 0
            if time.monotonic() - saved > 60 * self.args.save_minutes:
                self.save()
                saved = time.monotonic()
            if stopping:
                break
        self.save()


def parts(samples: list[Sample]) -> list[list[Sample]]:
    """Split samples into parts of similar lengths."""
    result: list[list[Sample]] = [[]]
    for sample in sorted(samples, key=lambda sample: len(sample.ids)):
        if result[-1] and (len(result[-1]) + 1) * len(sample.ids) > PASS_TOKENS:
            result.append([])
        result[-1].append(sample)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, required=True, help="folder of the log and the checkpoint")
    parser.add_argument("--start", type=Path, default=ROOT / "crates/engine/assets/demo.gguf", help="text model to start from, or one that sees")
    parser.add_argument("--tower", type=Path, help="projector to start from, with --tower-steps 0; the default is a new tower")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--tower-steps", type=int, default=1_400, help="steps that train the tower alone")
    parser.add_argument("--text-steps", type=int, default=0, help="steps after those that train the text model alone")
    parser.add_argument("--patches", type=int, default=4096, help="patches of the pictures of a step")
    parser.add_argument("--text-tokens", type=int, default=1024, help="tokens of text conversations in a step")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate of the tower")
    parser.add_argument("--text-lr", type=float, default=1e-3, help="peak learning rate of the text model")
    parser.add_argument("--hint-weight", type=float, default=0.5, help="weight of what patches show, beside answers")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16, which is faster on CPUs with AMX")
    parser.add_argument("--overfit", type=int, default=0, help="train on this number of samples again and again")
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--save-minutes", type=float, default=5)
    args = parser.parse_args()
    args.joint_from = args.tower_steps + args.text_steps

    torch.set_num_threads(args.threads)
    args.folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args)
    if args.resume:
        trainer.load()
    count = Counter({name: sum(p.numel() for p in m.parameters()) for name, m in trainer.model.model.named_children()})
    print(f"parameters: {dict(count)}, step {trainer.step}", flush=True)
    trainer.run()


if __name__ == "__main__":
    main()
