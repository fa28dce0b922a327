#!/usr/bin/env python3
"""Write tiny LoRA adapters for the tiny models, with the logits and greedy tokens of PEFT and transformers.

There are two adapters for each of two models, drawn from seeds: `broad` on every projection, with
other ranks and scales on some of them, in bfloat16; `narrow` on queries and values only, of an odd
rank, with rsLoRA scaling, in float32. PEFT applies them in float32, unmerged, to the model of the
family's F32 file. As in `make_fixtures.py`, the seeds have the largest minimum gap between the two best
logits; `--search N` looks for better ones.

`--sensitivity` prints how far the logits move when one detail is wrong.
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from fixture_tokenizer import VOCAB_SIZE
from make_fixtures import (
    FAMILIES,
    FIXTURES,
    GREEDY_TOKENS,
    SEEDS,
    Reference,
    build,
    compact_json,
    prompt_logits,
    prompts,
    reference,
)

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Kind:
    """One kind of adapter: its PEFT config and the dtype of its stored weights."""

    config: dict[str, object]
    dtype: torch.dtype


KINDS = {
    "broad": Kind(
        dict(
            r=4,
            lora_alpha=8,
            target_modules=ATTENTION + MLP,
            rank_pattern={"layers.0.self_attn.q_proj": 6},
            alpha_pattern={"down_proj": 6},
        ),
        torch.bfloat16,
    ),
    "narrow": Kind(
        dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj"]),
        torch.float32,
    ),
}

# By family and kind.
ADAPTER_SEEDS = {
    ("qwen2", "broad"): 13,
    ("qwen2", "narrow"): 8,
    ("qwen3", "broad"): 15,
    ("qwen3", "narrow"): 10,
}


def adapted(family: str, kind: str, seed: int, **changed: object) -> PeftModel:
    """Return the family's model with an adapter whose weights are rounded to the dtype of the file."""
    model = build(FAMILIES[family], SEEDS[family])
    config = copy.deepcopy(KINDS[kind].config) | changed
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" not in name:
                continue
            # Large enough to change the greedy tokens, but no larger than the model's own weights.
            inputs = parameter.shape[1]
            drawn = torch.randn(parameter.shape, generator=generator) * (0.7 / inputs**0.5)
            parameter.copy_(drawn.to(KINDS[kind].dtype))
    return model


def references(model: PeftModel, give_up_below: float = 0.0) -> dict[str, Reference]:
    found = {}
    for name, tokens in prompts().items():
        found[name] = reference(model, tokens, give_up_below=give_up_below)
        if found[name].smallest_gap < give_up_below:
            break
    return found


def search(family: str, kind: str, seeds: int) -> None:
    best_gap = 0.0
    for seed in range(seeds):
        found = references(adapted(family, kind, seed), best_gap).values()
        gap = min(result.smallest_gap for result in found)
        distinct = min(len(set(result.greedy)) for result in found)
        if gap > best_gap and distinct >= GREEDY_TOKENS // 4:
            best_gap = gap
            print(f"{family} {kind}: seed {seed}, gap {gap:.4f}, {distinct} distinct", flush=True)


def write(family: str, kind: str, folder: Path) -> None:
    """Write `<family>/<kind>/adapter_*`, and `<family>-<kind>.json` and `.logits.f32` to `<family>`."""
    folder, stem = folder / family, f"{family}-{kind}"
    model = adapted(family, kind, ADAPTER_SEEDS[family, kind])
    model.save_pretrained(folder / kind)
    (folder / kind / "README.md").unlink()
    weights = folder / kind / "adapter_model.safetensors"
    stored = {name: w.to(KINDS[kind].dtype) for name, w in load_file(weights).items()}
    save_file(stored, weights, metadata={"format": "pt"})
    # PEFT's config in a fixed order, with a name instead of the base model's local path.
    config = folder / kind / "adapter_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    values["base_model_name_or_path"] = f"tiny random {family}"
    values["target_modules"] = sorted(values["target_modules"])
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    read = PeftModel.from_pretrained(build(FAMILIES[family], SEEDS[family]), folder / kind).eval()
    entries, rows, count = [], [], 0
    for prompt, result in references(read).items():
        first = 0 if prompt == "short" else len(result.tokens) - 1
        rows.append(result.logits[first:])
        entries.append(
            {
                "name": prompt,
                "tokens": result.tokens,
                "first_position": first,
                "first_row": count,
                "greedy": result.greedy,
                "smallest_gap": round(result.smallest_gap, 6),
            }
        )
        count += len(result.tokens) - first
    np.concatenate(rows).astype("<f4").tofile(folder / f"{stem}.logits.f32")
    description = {
        "model": f"{family}-f32.gguf",
        "adapter": kind,
        "logits": f"{stem}.logits.f32",
        "vocab_size": VOCAB_SIZE,
        "rows": count,
        "prompts": entries,
    }
    (folder / f"{stem}.json").write_text(compact_json(description), encoding="utf-8")
    gaps = ", ".join(f"{e['name']} {e['smallest_gap']:.3f}" for e in entries)
    print(f"{stem}: smallest gaps {gaps}")


def sensitivity(family: str, kind: str) -> dict[str, float]:
    """Return the largest change of a logit on the long prompt for each mistake."""
    seed, tokens = ADAPTER_SEEDS[family, kind], prompts()["long"]
    right = prompt_logits(adapted(family, kind, seed), tokens)

    def moved(model: object) -> float:
        return float(np.abs(prompt_logits(model, tokens) - right).max())

    def without(*parts: str) -> float:
        model = adapted(family, kind, seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name and all(part in name for part in parts):
                    parameter.zero_()
        return moved(model)

    found = {"no adapter": without()}
    for projection in KINDS[kind].config["target_modules"]:
        found[f"not on {projection}"] = without(projection)
    found["not on layer 1"] = without("layers.1.")
    other = not KINDS[kind].config.get("use_rslora", False)
    found["scaled as rsLoRA" if other else "not scaled as rsLoRA"] = moved(
        adapted(family, kind, seed, use_rslora=other)
    )
    if "alpha_pattern" in KINDS[kind].config:
        found["alpha_pattern ignored"] = moved(adapted(family, kind, seed, alpha_pattern={}))
        # The scale that the module in rank_pattern would get if it were divided by the default rank.
        wrong = {"down_proj": 6, "layers.0.self_attn.q_proj": 8 * 6 / 4}
        found["rank_pattern ignored"] = moved(adapted(family, kind, seed, alpha_pattern=wrong))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FIXTURES, help="folder to write to")
    parser.add_argument("--search", type=int, metavar="N", help="try N seeds and print the best")
    parser.add_argument(
        "--sensitivity", action="store_true", help="print the largest logit change for each mistake"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    for family, kind in ADAPTER_SEEDS:
        if args.search:
            search(family, kind, args.search)
        elif args.sensitivity:
            for mistake, moved in sensitivity(family, kind).items():
                print(f"{family:6} {kind:7} {mistake:24} {moved:8.2f}")
        else:
            write(family, kind, args.output)


if __name__ == "__main__":
    main()
