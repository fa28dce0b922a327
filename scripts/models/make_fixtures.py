#!/usr/bin/env python3
"""Write tiny random Qwen models with the logits and greedy tokens that transformers computes for them.

The parameters of each model are drawn from a seed. The seeds in `SEEDS` were chosen to make the
greedy tokens robust: of many seeds tried, each has the largest minimum gap between the best and the
second-best logit over all greedy steps of all prompts. `--search N` looks for better ones.

`--sensitivity` prints how far the logits move when one detail of the architecture is wrong.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen2_moe import modeling_qwen2_moe
from transformers.models.qwen3 import modeling_qwen3
from transformers.models.qwen3_moe import modeling_qwen3_moe

import fixture_tokenizer
from fixture_tokenizer import VOCAB_SIZE
from gguf_export import export, with_stored_weights

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "crates" / "engine" / "tests" / "fixtures"
CHAT_TEMPLATE = HERE / "chat_template.jinja"

GREEDY_TOKENS = 64
# `medium` exceeds a KV page (32 tokens) and `long` a prompt chunk (128). The logits of all positions
# of the long prompt are stored for F32 only; for the other types only its last row is stored.
PROMPT_LENGTHS = {"one": 1, "short": 7, "medium": 33, "long": 130}

SHAPE = dict(
    vocab_size=VOCAB_SIZE,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
    attn_implementation="eager",
)


def rope(theta: float) -> dict[str, object]:
    return {"rope_type": "default", "rope_theta": theta}


@dataclass(frozen=True)
class Family:
    """One architecture: its config and the weight types of its fixtures."""

    config: PreTrainedConfig
    types: tuple[str, ...] = ("F32", "F16")


FAMILIES = {
    "qwen2": Family(
        Qwen2Config(**SHAPE, tie_word_embeddings=True, rope_parameters=rope(1e6)),
    ),
    # A theta that is no reader's default.
    "qwen2.5": Family(
        Qwen2Config(**SHAPE, tie_word_embeddings=False, rope_parameters=rope(5e4)),
    ),
    # Four heads of dimension 32 on a hidden size of 64: readers must read head_dim, not compute it.
    "qwen3": Family(
        Qwen3Config(**SHAPE, head_dim=32, tie_word_embeddings=True, rope_parameters=rope(1e6)),
        types=("F32", "F16", "Q8_0", "Q4_0"),
    ),
    # The weights of the chosen experts are not normalized; there is a shared expert with a gate.
    "qwen2moe": Family(
        Qwen2MoeConfig(
            **SHAPE,
            num_experts=6,
            num_experts_per_tok=2,
            moe_intermediate_size=32,
            shared_expert_intermediate_size=64,
            norm_topk_prob=False,
            tie_word_embeddings=False,
            rope_parameters=rope(1e6),
        ),
        types=("F32",),
    ),
    # The weights of the chosen experts are normalized to sum 1.
    "qwen3moe": Family(
        Qwen3MoeConfig(
            **SHAPE,
            head_dim=32,
            num_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=32,
            norm_topk_prob=True,
            tie_word_embeddings=True,
            rope_parameters=rope(1e6),
        ),
        types=("F32", "Q8_0"),
    ),
    # YaRN on an original context of 128 tokens, which the long prompt exceeds. The ramp between unscaled
    # and scaled frequencies begins after the first frequency.
    "yarn": Family(
        Qwen3Config(
            **SHAPE | {"max_position_embeddings": 512},
            head_dim=32,
            tie_word_embeddings=True,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 1e4,
                "factor": 4.0,
                "original_max_position_embeddings": 128,
                "beta_fast": 4.0,
            },
        ),
        types=("F32",),
    ),
}

SEEDS = {
    "qwen2": 1662,
    "qwen2.5": 1460,
    "qwen3": 1606,
    "qwen2moe": 492,
    "qwen3moe": 396,
    "yarn": 89,
}

# An embedding model: it has no output head, and its texts end with `<|endoftext|>`.
EMBEDDING = Qwen3Config(
    **SHAPE, head_dim=32, tie_word_embeddings=True, rope_parameters=rope(1e6)
)
EMBEDDING_SEED = 1
EMBEDDED_TEXTS = [
    "A task waits in the queue.",
    "The queue never loses a task",
    "你好，世界！",
    "x",
    "",
    "The worker renews its lease while the model is running; " * 5,
]

# Smallest allowed distance, in router logits, between the last chosen expert and the next. Below it,
# rounding errors (about 1e-5) could select another expert; `search` skips such seeds.
ROUTING_GAP = 5e-4


def build(family: Family, seed: int) -> PreTrainedModel:
    """Return a random model in which every parameter affects the logits.

    Biases are far from 0 and norm weights far from 1.
    """
    model = AutoModelForCausalLM.from_config(family.config, dtype=torch.float32).eval()
    randomize(model, seed)
    return model


def randomize(model: PreTrainedModel, seed: int) -> None:
    """Draw all parameters of `model` from a seed."""
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter: nn.Parameter, std: float) -> None:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan_in = parameter.shape[-1]
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                parameter.copy_(0.25 + 0.75 * torch.rand(parameter.shape, generator=generator))
            elif name.endswith("norm.weight"):
                parameter.copy_(0.5 + 1.5 * torch.rand(parameter.shape, generator=generator))
            elif name.endswith(".bias"):
                normal(parameter, 0.5)
            elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
                normal(parameter, 0.4)
            elif name.endswith(("mlp.gate.weight", "shared_expert_gate.weight")):
                # One expert dominates, but the others chosen still have noticeable weights.
                normal(parameter, fan_in**-0.5)
            elif name.endswith(("q_proj.weight", "k_proj.weight")):
                # Attention that is selective, but not so sharp that it amplifies rounding errors.
                normal(parameter, fan_in**-0.5)
            else:
                # Attention and MLP contribute more to the residual stream than the embedding, so that
                # a tied head does not simply repeat the last token.
                normal(parameter, 2 * fan_in**-0.5)


def prompts() -> dict[str, list[int]]:
    """Return prompts of random ids from the whole vocabulary, special tokens included."""
    random = np.random.default_rng(1)
    return {
        name: random.integers(0, VOCAB_SIZE, length).tolist()
        for name, length in PROMPT_LENGTHS.items()
    }


@dataclass
class Reference:
    """The outputs of transformers for one prompt."""

    tokens: list[int]
    logits: np.ndarray  # [prompt tokens, vocabulary]
    greedy: list[int] = field(default_factory=list)
    smallest_gap: float = float("inf")


@contextmanager
def routing_gap(model: PreTrainedModel) -> Iterator[Callable[[], float]]:
    """Record the closest routing decision while the block runs.

    Yields a function that returns the smallest distance, in router logits, between the last chosen expert
    and the next, or infinity if there are no routers.
    """
    nearest = float("inf")

    def seen(router: nn.Module, _inputs: object, outputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal nearest
        chosen = outputs[0].topk(router.top_k + 1).values
        nearest = min(nearest, float((chosen[..., -2] - chosen[..., -1]).min()))

    routers = [m for m in model.modules() if type(m).__name__.endswith("TopKRouter")]
    hooks = [router.register_forward_hook(seen) for router in routers]
    try:
        yield lambda: nearest
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def prompt_logits(model: PreTrainedModel, tokens: list[int]) -> np.ndarray:
    return model(torch.tensor([tokens]), use_cache=False).logits[0].numpy()


@torch.no_grad()
def reference(model: PreTrainedModel, tokens: list[int], give_up_below: float = 0.0) -> Reference:
    """Compute the logits of the prompt and the greedy tokens after it. No token ends the text.

    Stops early when a gap is smaller than `give_up_below`.
    """
    output = model(torch.tensor([tokens]), use_cache=True)
    result = Reference(tokens, output.logits[0].numpy())
    while True:
        best, second = output.logits[0, -1].topk(2).values.tolist()
        result.smallest_gap = min(result.smallest_gap, best - second)
        result.greedy.append(int(output.logits[0, -1].argmax()))
        if len(result.greedy) == GREEDY_TOKENS or result.smallest_gap < give_up_below:
            return result
        output = model(
            torch.tensor([result.greedy[-1:]]),
            past_key_values=output.past_key_values,
            use_cache=True,
        )


def search(family: Family, seeds: int) -> tuple[int, float]:
    """Return the seed with the largest minimum gap and that gap.

    Skips seeds with fewer distinct greedy tokens than a third of `GREEDY_TOKENS`.
    """
    best_seed, best_gap = -1, 0.0
    for seed in range(seeds):
        model = build(family, seed)
        gap, distinct = float("inf"), GREEDY_TOKENS
        # The F16 file has the same prompts and nearly the same logits; its gaps count too.
        for weights in (model, *(with_stored_weights(model, t) for t in family.types if t == "F16")):
            for tokens in prompts().values():
                with routing_gap(weights) as nearest:
                    result = reference(weights, tokens, give_up_below=best_gap)
                gap = min(gap, result.smallest_gap) if nearest() > ROUTING_GAP else 0.0
                distinct = min(distinct, len(set(result.greedy)))
                if gap < best_gap or distinct < GREEDY_TOKENS // 3:
                    break
            if gap < best_gap or distinct < GREEDY_TOKENS // 3:
                break
        else:
            best_seed, best_gap = seed, gap
            print(f"  seed {seed}: gap {gap:.4f}, {distinct} distinct tokens", flush=True)
    return best_seed, best_gap


def write(name: str, weight_type: str, folder: Path) -> None:
    """Write `<name>-<type>.gguf`, `.json` and `.logits.f32` to `folder/<name>`."""
    model = build(FAMILIES[name], SEEDS[name])
    stem = f"{name}-{weight_type.lower()}"
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    export(
        model,
        fixture_tokenizer.tokenizer(),
        folder / f"{stem}.gguf",
        weight_type=weight_type,
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
        name=f"tiny random {name}",
    )

    exact = with_stored_weights(model, weight_type)
    entries, rows, stored = [], [], 0
    for prompt, tokens in prompts().items():
        result = reference(exact, tokens)
        whole = prompt != "long" or weight_type == "F32"
        first = 0 if whole else len(tokens) - 1
        rows.append(result.logits[first:])
        entries.append(
            {
                "name": prompt,
                "tokens": tokens,
                "first_position": first,
                "first_row": stored,
                "greedy": result.greedy,
                "smallest_gap": round(result.smallest_gap, 6),
            }
        )
        stored += len(tokens) - first
    np.concatenate(rows).astype("<f4").tofile(folder / f"{stem}.logits.f32")
    description = {
        "model": f"{stem}.gguf",
        "logits": f"{stem}.logits.f32",
        "vocab_size": VOCAB_SIZE,
        "rows": stored,
        "prompts": entries,
    }
    (folder / f"{stem}.json").write_text(compact_json(description), encoding="utf-8")
    check_readable(folder / f"{stem}.gguf", exact)
    gaps = ", ".join(f"{e['name']} {e['smallest_gap']:.3f}" for e in entries)
    print(f"{stem}: smallest gaps {gaps}")


@torch.no_grad()
def write_embeddings(folder: Path) -> None:
    """Write `embedding.gguf` and `embedding.json`: texts with their tokens and embeddings."""
    folder = folder / "embedding"
    folder.mkdir(parents=True, exist_ok=True)
    model = AutoModel.from_config(EMBEDDING, dtype=torch.float32).eval()
    randomize(model, EMBEDDING_SEED)
    tokenizer = fixture_tokenizer.tokenizer()
    export(
        model,
        tokenizer,
        folder / "embedding.gguf",
        weight_type="F16",
        name="tiny random embedding",
        eos="<|endoftext|>",
        pooling="last",
    )
    exact = with_stored_weights(model, "F16")
    end = tokenizer.token_to_id("<|endoftext|>")
    lines = []
    for text in EMBEDDED_TEXTS:
        tokens = tokenizer.encode(text, add_special_tokens=False).ids + [end]
        last = exact(torch.tensor([tokens]), use_cache=False).last_hidden_state[0, -1]
        embedding = nn.functional.normalize(last, dim=0)
        numbers = [round(x, 8) for x in embedding.tolist()]
        lines.append({"text": text, "tokens": tokens, "embedding": numbers})
    description = {"model": "embedding.gguf", "prompts": lines}
    (folder / "embedding.json").write_text(compact_json(description), encoding="utf-8")
    print(f"embedding: {len(lines)} texts")


def compact_json(description: dict) -> str:
    """Return `description` as JSON with one prompt per line."""
    lines = ",\n".join("    " + json.dumps(entry) for entry in description.pop("prompts"))
    head = json.dumps(description, indent=2).removesuffix("\n}")
    return f'{head},\n  "prompts": [\n{lines}\n  ]\n}}\n'


def check_readable(path: Path, exact: PreTrainedModel) -> None:
    """Check that transformers reads the same weights back from the GGUF file.

    Passes the config because transformers' GGUF reader ignores `attention.key_length`.
    """
    read = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, config=exact.config, dtype=torch.float32
    ).eval()
    tokens = prompts()["medium"]
    difference = np.abs(prompt_logits(read, tokens) - prompt_logits(exact, tokens)).max()
    if difference > 1e-4:
        raise SystemExit(f"{path.name}: after reading it back, the logits differ by {difference}")


# Sensitivity: mistakes that an engine could make, each made on purpose.


@contextmanager
def swapped(module: object, name: str, wrong: Callable) -> Iterator[None]:
    with mock.patch.object(module, name, wrong):
        yield


def interleaved_rope(q, k, cos, sin, unsqueeze_dim=1):
    """Apply RoPE with GPT-J's pairing: neighbours (0,1), (2,3) instead of halves."""
    half = cos.shape[-1] // 2
    cos, sin = (t[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin))

    def turned(x):
        return torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)

    return q * cos + turned(q) * sin, k * cos + turned(k) * sin


def modulo_heads(states, repeats):
    """Map query head h to key head h % kv_heads instead of h // repeats."""
    return states.repeat(1, repeats, 1, 1)


MODELING = {
    "qwen2": modeling_qwen2,
    "qwen3": modeling_qwen3,
    "qwen2_moe": modeling_qwen2_moe,
    "qwen3_moe": modeling_qwen3_moe,
}


def sensitivity(name: str) -> dict[str, float]:
    """Return the largest change of a logit on the long prompt for each mistake that applies to the family."""
    family, seed = FAMILIES[name], SEEDS[name]
    modeling = MODELING[family.config.model_type]
    tokens = prompts()["long"]
    right = prompt_logits(build(family, seed), tokens)

    def moved(model: PreTrainedModel) -> float:
        return float(np.abs(prompt_logits(model, tokens) - right).max())

    def broken(change: Callable[[PreTrainedModel], None]) -> float:
        model = build(family, seed)
        with torch.no_grad():
            change(model)
        return moved(model)

    def each_layer(change: Callable[[nn.Module], None]) -> Callable[[PreTrainedModel], None]:
        return lambda model: [change(layer) for layer in model.model.layers]

    def no_bias(projection: str) -> Callable[[PreTrainedModel], None]:
        return each_layer(lambda layer: getattr(layer.self_attn, projection).bias.zero_())

    def without_qk_norm(layer: nn.Module) -> None:
        layer.self_attn.q_norm = layer.self_attn.k_norm = nn.Identity()

    def scaled_by_hidden(layer: nn.Module) -> None:
        layer.self_attn.scaling = (SHAPE["hidden_size"] / SHAPE["num_attention_heads"]) ** -0.5

    found: dict[str, float] = {}
    with swapped(modeling, "apply_rotary_pos_emb", interleaved_rope):
        found["rope pairs neighbours"] = moved(build(family, seed))
    with swapped(modeling, "repeat_kv", modulo_heads):
        found["GQA heads mapped modulo"] = moved(build(family, seed))
    found["rope theta 10000"] = broken(
        lambda model: model.model.rotary_emb.inv_freq.copy_(
            1e4 ** -torch.arange(0, 1, 1 / len(model.model.rotary_emb.inv_freq))
        )
    )
    found["final norm weight ignored"] = broken(lambda model: model.model.norm.weight.fill_(1))
    found["layer norm weights ignored"] = broken(
        each_layer(lambda layer: layer.input_layernorm.weight.fill_(1))
    )
    if name == "yarn":
        yarn = family.config.rope_parameters
        rotary = lambda model: model.model.rotary_emb  # noqa: E731
        plain = 1e4 ** -torch.arange(0, 1, 1 / (family.config.head_dim // 2))
        found["not stretched at all"] = broken(
            lambda model: (
                rotary(model).inv_freq.copy_(plain),
                setattr(rotary(model), "attention_scaling", 1.0),
            )
        )
        found["all pairs stretched"] = broken(
            lambda model: rotary(model).inv_freq.copy_(plain / yarn["factor"])
        )
        found["cosines and sines not scaled"] = broken(
            lambda model: setattr(rotary(model), "attention_scaling", 1.0)
        )
        for key, wrong in (("beta_fast", 32.0), ("beta_slow", 0.5)):
            config = copy.deepcopy(family.config)
            config.rope_parameters[key] = wrong
            found[f"{key} taken as {wrong}"] = moved(build(Family(config), seed))
    if hasattr(family.config, "num_experts"):

        def without_shared(layer: nn.Module) -> None:
            for parameter in layer.mlp.shared_expert.parameters():
                parameter.zero_()

        def routed(change: Callable[[nn.Module], None]) -> float:
            return broken(each_layer(lambda layer: change(layer.mlp.gate)))

        other = not family.config.norm_topk_prob
        found["expert weights normalized" if other else "expert weights not normalized"] = routed(
            lambda router: setattr(router, "norm_topk_prob", other)
        )
        found["one expert fewer"] = routed(
            lambda router: setattr(router, "top_k", router.top_k - 1)
        )
        found["gate and up swapped"] = broken(
            each_layer(
                lambda layer: layer.mlp.experts.gate_up_proj.copy_(
                    layer.mlp.experts.gate_up_proj.roll(family.config.moe_intermediate_size, 1)
                )
            )
        )
        found["experts shifted by one"] = broken(
            each_layer(
                lambda layer: layer.mlp.experts.down_proj.copy_(
                    layer.mlp.experts.down_proj.roll(1, 0)
                )
            )
        )
        if family.config.model_type == "qwen2_moe":
            found["no shared expert"] = broken(each_layer(without_shared))
            with swapped(modeling.F, "sigmoid", torch.ones_like):
                found["shared expert not gated"] = moved(build(family, seed))
    if modeling in (modeling_qwen3, modeling_qwen3_moe):
        found["no q/k norm"] = broken(each_layer(without_qk_norm))
        found["q/k norm weights ignored"] = broken(
            each_layer(
                lambda layer: [
                    norm.weight.fill_(1)
                    for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm)
                ]
            )
        )
        found["scaled by hidden/heads"] = broken(each_layer(scaled_by_hidden))
    else:
        for projection in ("q_proj", "k_proj", "v_proj"):
            found[f"no {projection[0]} bias"] = broken(no_bias(projection))
    if not family.config.tie_word_embeddings:
        found["head taken as tied"] = broken(
            lambda model: model.lm_head.weight.copy_(model.model.embed_tokens.weight)
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*FAMILIES, "embedding"]
    parser.add_argument("families", nargs="*", help=f"any of {', '.join(known)} (default: all)")
    parser.add_argument("--output", type=Path, default=FIXTURES, help="folder to write to")
    parser.add_argument("--search", type=int, metavar="N", help="try N seeds and print the best")
    parser.add_argument(
        "--sensitivity", action="store_true", help="print the largest logit change for each mistake"
    )
    args = parser.parse_args()
    if unknown := set(args.families) - set(known):
        parser.error(f"unknown family: {', '.join(sorted(unknown))}")

    torch.set_num_threads(1)
    for name in args.families or known:
        if name == "embedding":
            if not (args.search or args.sensitivity):
                write_embeddings(args.output)
        elif args.search:
            print(name)
            seed, gap = search(FAMILIES[name], args.search)
            print(f"{name}: seed {seed} (smallest gap {gap:.4f})", flush=True)
        elif args.sensitivity:
            for mistake, moved in sensitivity(name).items():
                print(f"{name:8} {mistake:28} {moved:8.2f}")
        else:
            for weight_type in FAMILIES[name].types:
                write(name, weight_type, args.output)


if __name__ == "__main__":
    main()
