#!/usr/bin/env python3
"""Teach the demo model to see: train a tiny Qwen3-VL that starts from the text model.

Three phases: the text model learns from rows made of the truth (truth.py), in the place of a tower's; the tower learns to make
these rows; then both learn together. The first two are independent. Every picture is drawn anew.

    python scripts/models/demo/train_vision.py --folder runs/vl                  # about three hours on two cores
    python scripts/models/demo/train_vision.py --folder runs/vl --tower scripts/models/demo/tower.gguf   # from a tower that reads
    python scripts/models/demo/train_vision.py --folder runs/vl --resume         # after a stop
    python scripts/models/demo/train_vision.py --folder /tmp/smoke --text-steps 4 --tower-steps 4 --joint-steps 4   # a check of the code

SIGTERM or SIGINT stops it after the step, with a checkpoint. `--folder` gets `log.txt` and `checkpoint.pt`, which
`evaluate_vision.py` measures and `export_vision.py` exports. The samples of a step follow from the seed and its number.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import Qwen3ForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1]))

import projector_export  # noqa: E402
import qwen_tokenizer  # noqa: E402
import vision_model  # noqa: E402
from acting import Acting  # noqa: E402
from corpus import Corpus  # noqa: E402
from evaluate import dequantized, read  # noqa: E402
from gaze import GAZE  # noqa: E402
from looking import Looking  # noqa: E402
from train import ROOT, Sampler, pad  # noqa: E402
from truth import MERGE, TrueRows  # noqa: E402
from vision_data import Conversations, Encoder, Patches, Sample, picture_patches, produce  # noqa: E402

HINT_WEIGHTS = {"letters": 0.5, "blank": 1.0, "places": 0.5, "kinds": 0.5, "colors": 0.5, "ranks": 0.3, "names": 0.3, "counts": 0.3, "boxes": 0.5, "numbers": 2.0}
PHASES = ("text", "tower", "joint")
# The peak of the learning rates in the last phase, of those of the first two.
JOINT_RATE = 0.4
# The share of the text model's steps without coordinates, and the share of conversations about places after them.
EASY_UNTIL, PLACES_SHARE = 0.3, 0.6
# The weights of digits and of other tokens: in conversations about places, and in others while rows are the truth. The last
# digits can't be known from pixels, and digits are many.
PLACES_WEIGHTS, TRUE_WEIGHTS, PIXELS_WEIGHTS = (3.0, 0.3), (2.0, 1.0), (0.4, 1.0)
GAZE_WEIGHT = 0.3
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
        text, self.tokenizer = read(args.start)
        self.model = text
        if isinstance(text, Qwen3ForCausalLM):
            old = self.tokenizer
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
        if isinstance(text, Qwen3ForCausalLM):
            vision_model.quiet_deepstack(self.model)
        self.hints = vision_model.Hints()
        self.true_rows = TrueRows(vision_model.TEXT_WIDTH)
        vocabulary = range(self.tokenizer.get_vocab_size())
        self.digits = {id for id in vocabulary if self.tokenizer.decode([id]).strip().isdigit()}
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
        tower = torch.nn.ModuleList([visual.blocks, visual.merger])
        for module, blocks, peak in ((visual, tower, self.args.lr), (language, language.layers, self.args.text_lr)):
            chosen = [p for p in blocks.parameters() if p.ndim == 2]
            known = {id(p) for p in chosen}
            matrices.append({"params": chosen, "weight_decay": 0.05, "peak": peak})
            others.append({"params": [p for p in module.parameters() if id(p) not in known], "weight_decay": 0.0, "peak": peak})
        others.append({"params": list(self.hints.parameters()), "weight_decay": 0.0, "peak": self.args.lr})
        muon = torch.optim.Muon(matrices, lr=self.args.lr, adjust_lr_fn="match_rms_adamw")
        adam = torch.optim.AdamW(others, lr=self.args.lr, betas=(0.9, 0.98), fused=True)
        return [muon, adam]

    def phase(self, step: int) -> tuple[str, int, int]:
        """Return the phase of a step, how many steps of it are done, and how many it has."""
        for name, count in zip(PHASES, self.args.phase_steps):
            if step < count:
                return name, step, count
            step -= count
        return PHASES[-1], self.args.phase_steps[-1], self.args.phase_steps[-1]

    def set_rates(self) -> None:
        """In each phase: linear warm-up, constant, linear decay over its last third."""
        name, done, count = self.phase(self.step)
        rate = min(1.0, (done + 1) / self.args.warmup, (count - done) / (count / 3))
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = group["peak"] * rate * (JOINT_RATE if name == "joint" else 1.0)

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
        self.model.load_state_dict(state["model"])
        self.hints.load_state_dict(state["hints"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            peaks = [group["peak"] for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, peak in zip(optimizer.param_groups, peaks):
                group["peak"] = peak
        self.tokenizer = Tokenizer.from_str(state["tokenizer"])
        self.model.config.image_token_id = self.tokenizer.token_to_id("<|image_pad|>")

    def draw(self, step: int) -> tuple[list[Sample], list]:
        """Draw the samples of a step: conversations about pictures, and of text; for the tower pictures only."""
        args = self.args
        rng = random.Random(f"{args.seed}/{step}")
        phase, done, count = self.phase(step)
        if phase == "tower":
            return self._fill(lambda: Sample(patches=[picture_patches(self.looking.picture(rng, 1.0, dense=rng.random() < 0.25))])), []
        conversations = Conversations(self.corpus, self.looking, Encoder(self.tokenizer))
        if phase == "text":
            samples = self._fill(lambda: self._lesson(rng, conversations, done / count))
        else:
            samples = self._fill(lambda: self._weighted(conversations.draw(rng, 1.0), PIXELS_WEIGHTS))
        for sample in samples:
            if phase == "text":
                sample.patches = [replace(image, pixels=image.pixels[:, :0]) for image in sample.patches]
        sampler = Sampler(self.corpus, self.tokenizer, 0, args.text_tokens)
        sampler.rng = rng
        texts, tokens = [], 0
        while tokens < args.text_tokens:
            texts.append(sampler.sample(1.0))
            tokens += len(texts[-1][0])
        return samples, texts

    def _lesson(self, rng: random.Random, conversations: Conversations, progress: float) -> Sample:
        """Draw a conversation for the text model, of whose steps the share `progress` is done.

        It begins with one thing in a picture and without coordinates; then many are about places, first of one thing.
        """
        if progress < EASY_UNTIL:
            return conversations.draw_easy(rng, 0.4 * (progress > EASY_UNTIL * 2 / 3))
        if rng.random() < PLACES_SHARE * (1 - progress):
            return self._weighted(conversations.draw_places(rng, 0.4 * (rng.random() < progress)), PLACES_WEIGHTS)
        return self._weighted(conversations.draw(rng, min(1.0, 3 * (progress - EASY_UNTIL))), TRUE_WEIGHTS)

    def _weighted(self, sample: Sample, weights: tuple[float, float]) -> Sample:
        """Multiply the weights of a sample's digits, and of its other tokens."""
        digit, other = weights
        sample.weights = [weight * (digit if id in self.digits else other) for id, weight in zip(sample.ids, sample.weights)]
        return sample

    def _fill(self, draw: Callable[[], Sample]) -> list[Sample]:
        """Draw samples until they have enough patches."""
        samples: list[Sample] = []
        patches = 0
        while patches < self.args.patches:
            samples.append(draw())
            patches += sum(len(image.pixels) for image in samples[-1].patches)
        return samples

    def losses(self, samples: list[Sample], texts: list) -> dict[str, torch.Tensor]:
        """Return the losses of a step by name, and their weighted sum as `total`."""
        phase, _, _ = self.phase(self.step)
        images: list[Patches] = sorted((i for s in samples for i in s.patches), key=lambda image: len(image.pixels))
        classes, numbers = (torch.from_numpy(np.concatenate([getattr(image, name) for image in images])) for name in ("classes", "numbers"))
        if phase == "text":
            seen = SimpleNamespace(pooler_output=self.true_rows(classes, numbers), deepstack_features=[])
            losses = self._spoken(samples, texts, seen, images)
            return losses | {"total": sum(losses.values())}
        seen = vision_model.see(self.model, images)
        hints = self.hints.losses(seen, images)
        made = self.true_rows.losses(seen.pooler_output, classes, numbers)
        hint = sum(HINT_WEIGHTS[name] * loss for name, loss in hints.items())
        if phase == "tower":
            return hints | made | {"total": hint + sum(made.values())}
        losses = self._spoken(samples, texts, seen, images)
        return hints | made | losses | {"total": sum(losses.values()) + 0.2 * hint + 0.3 * made["rows"]}

    def _spoken(self, samples: list[Sample], texts: list, seen, images: list[Patches]) -> dict[str, torch.Tensor]:  # noqa: ANN001
        """Return the losses of the text model, weighted."""
        answers = self._answers(samples, seen, images)
        return {"answers": answers, "text": self._text(texts), "gaze": GAZE_WEIGHT * GAZE.take()}

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
            with GAZE.towards([sample.targets for sample in part], width):
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
        self.dropout = self.args.dropout
        states = vision_model.read_text(self.model, ids, positions)[:, :-1]
        self.dropout = 0.0
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
    parser.add_argument("--tower", type=Path, help="projector to start from; the default is a new tower")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    for phase, steps in zip(PHASES, (2_700, 850, 600)):
        parser.add_argument(f"--{phase}-steps", type=int, default=steps)
    parser.add_argument("--patches", type=int, default=2048, help="patches of the pictures of a step")
    parser.add_argument("--text-tokens", type=int, default=512, help="tokens of text conversations in a step")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate of the tower")
    parser.add_argument("--text-lr", type=float, default=2e-3, help="peak learning rate of the text model")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--warmup", type=int, default=40, help="steps at the beginning of each phase")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16, which is faster on CPUs with AMX")
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--save-minutes", type=float, default=5)
    args = parser.parse_args()
    args.phase_steps = [args.text_steps, args.tower_steps, args.joint_steps]
    args.steps = sum(args.phase_steps)

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
