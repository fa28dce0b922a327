"""The demo model that sees: a tiny Qwen3-VL of transformers, started from the text model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import DynamicCache, Qwen3ForCausalLM, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from gaze import GAZE
from pictures import COLORS, KINDS, MAX_LETTERS, MAX_SHAPES, MAX_WORDS
from train import ROPE, SIZES, TEMPLATE
from truth import BINS, LETTERS, MERGE, NUMBERS, divergence, places_of
from vision_data import IGNORED, PATCH, Patches, mrope_positions

# What the text model's template does with parts of messages that are no text, and what Qwen3-VL's does.
TEXT_ONLY = "{{- part.text if part.type == 'text' else raise_exception('this model reads text only') -}}"
WITH_IMAGES = """{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
            {%- elif part.type == 'video' or 'video' in part -%}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
            {%- else -%}
                {{- part.text -}}
            {%- endif -%}"""
VISION_TEMPLATE = TEMPLATE.replace(TEXT_ONLY, WITH_IMAGES)

TEXT_WIDTH = SIZES["hidden_size"]
WIDTH = 192
VOCAB_SIZE = 2304


def new_model(tokenizer: Tokenizer) -> Qwen3VLForConditionalGeneration:
    """Return an untrained model. The text model has the sizes of the one that does not see."""
    config = Qwen3VLConfig(
        text_config=dict(
            vocab_size=VOCAB_SIZE,
            rope_parameters=ROPE | {"mrope_section": [12, 10, 10], "mrope_interleaved": True},
            **SIZES,
        ),
        vision_config=dict(
            depth=6,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_heads=6,
            out_hidden_size=TEXT_WIDTH,
            patch_size=PATCH,
            num_position_embeddings=16 * 16,
            deepstack_visual_indexes=[1, 3],
        ),
        tie_word_embeddings=True,
        image_token_id=tokenizer.token_to_id("<|image_pad|>"),
        video_token_id=tokenizer.token_to_id("<|video_pad|>"),
        vision_start_token_id=tokenizer.token_to_id("<|vision_start|>"),
        vision_end_token_id=tokenizer.token_to_id("<|vision_end|>"),
    )  # fmt: skip
    model = Qwen3VLForConditionalGeneration(config).float()
    model.model.visual.config._attn_implementation = "tower"
    model.model.language_model.config._attn_implementation = "causal"
    return model


@torch.no_grad()
def start_from(model: Qwen3VLForConditionalGeneration, tokenizer: Tokenizer, text: Qwen3ForCausalLM, old: Tokenizer) -> None:
    """Copy a text model. A new token starts with the mean of the tokens that it replaces."""
    target = model.model.language_model
    for name, parameter in text.model.named_parameters():
        if name != "embed_tokens.weight":
            target.get_parameter(name).copy_(parameter)
    rows = text.model.embed_tokens.weight
    for token, id in tokenizer.get_vocab().items():
        known = old.token_to_id(token)
        if known is not None:
            target.embed_tokens.weight[id] = rows[known]
        elif not token.startswith("<|"):
            pieces = old.encode(tokenizer.decode([id])).ids
            target.embed_tokens.weight[id] = rows[pieces].mean(0)
        else:
            target.embed_tokens.weight[id] = rows.mean(0)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    note: Callable[[torch.Tensor], None] | None = None,
) -> torch.Tensor:  # fmt: skip
    """Plain attention, which is faster than torch's fused one on CPUs. The queries are scaled. `note` gets the shares."""
    with torch.autocast("cpu", enabled=False):
        scores = query.to(value.dtype) @ key.to(value.dtype).transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(mask, float("-inf"))
        shares = scores.softmax(-1)
        if note:
            note(shares)
        return shares @ value


def _tower_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, sizes=None, **_):  # noqa: ANN001
    """Attention within each image, for images of similar sizes at once. `sizes` are groups of numbers of patches."""
    outputs = []
    start = 0
    for images in sizes:
        count, longest = len(images), max(images)
        stop = start + sum(images)
        pieces = [states[0, :, start:stop] for states in (query * scaling, key, value)]  # [heads, patches, head_dim]
        kept = None
        if min(images) == longest:
            q, k, v = (p.unflatten(1, (count, longest)).transpose(0, 1) for p in pieces)
            out = _attend(q, k, v, None)
        else:
            kept = torch.arange(longest) < torch.tensor(images)[:, None]
            index = torch.zeros(count, longest, dtype=torch.long)
            index[kept] = torch.arange(sum(images))
            q, k, v = (p[:, index].transpose(0, 1) for p in pieces)
            out = _attend(q, k, v, ~kept[:, None, None])
        out = out.transpose(1, 2)  # [images, longest, heads, head_dim]
        outputs.append(out.flatten(0, 1) if kept is None else out[kept])
        start = stop
    return torch.cat(outputs)[None], None


def _causal_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **_):  # noqa: ANN001
    """Causal attention of whole prompts or of one token. Padding is on the right, so that it needs no mask."""
    samples, heads, count, width = query.shape
    # The heads that share keys and values: [samples, key/value heads, heads each, tokens, width]
    query = (query * scaling).unflatten(1, (key.shape[1], -1))
    mask = None
    if count > 1:
        mask = torch.ones(count, key.shape[2], dtype=torch.bool).triu(1 + key.shape[2] - count)
    out = _attend(query, key[:, :, None], value[:, :, None], mask, lambda shares: GAZE.note(module.layer_idx, shares.flatten(1, 2)))
    return out.reshape(samples, heads, count, width).transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS["tower"] = _tower_attention
ALL_ATTENTION_FUNCTIONS["causal"] = _causal_attention


def see(model: Qwen3VLForConditionalGeneration, images: list[Patches] | list[tuple[np.ndarray, tuple[int, int]]]):  # noqa: ANN201
    """Run the tower. Returns its output for all images one after the other."""
    images = [(image.pixels, image.grid) if isinstance(image, Patches) else image for image in images]
    pixels = torch.from_numpy(np.concatenate([pixels for pixels, _ in images])).float() / 127.5 - 1
    grid = torch.tensor([[1, *grid] for _, grid in images])
    counts = [rows * columns for _, (rows, columns) in images]
    # Neighbours of up to 1.25 times the size are padded to the same.
    groups: list[list[int]] = []
    for count in counts:
        if groups and len(groups[-1]) < 16 and max(*groups[-1], count) <= 1.25 * min(*groups[-1], count):
            groups[-1].append(count)
        else:
            groups.append([count])
    return model.model.visual(
        pixels, grid_thw=grid, return_dict=True, cu_seqlens=torch.tensor([0, sum(counts)]), sizes=groups,
    )  # fmt: skip


class _StillPatchEmbed(nn.Module):
    """The patch embedding for images, both of whose frames are the same: one product instead of two."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.proj = conv

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return functional.linear(pixels, self.proj.weight.sum(2).flatten(1), self.proj.bias)


def for_images(model: Qwen3VLForConditionalGeneration) -> Qwen3VLForConditionalGeneration:
    """Let the tower take patches of one frame, with the same weights."""
    visual = model.model.visual
    conv = visual.patch_embed.proj
    with torch.no_grad():
        # Halves of one kernel, which stay the same in training.
        conv.weight.copy_(conv.weight.mean(2, keepdim=True).expand_as(conv.weight))
    visual.patch_embed = _StillPatchEmbed(conv)
    return model


@torch.no_grad()
def quiet_deepstack(model: Qwen3VLForConditionalGeneration) -> None:
    """Let DeepStack add nothing at first: the text model begins without it."""
    for merger in model.model.visual.deepstack_merger_list:
        merger.linear_fc2.weight.zero_()
        merger.linear_fc2.bias.zero_()


@torch.no_grad()
def whiten(model: Qwen3VLForConditionalGeneration, pixels: np.ndarray) -> None:
    """Start the patch embedding with the principal components of patches, each with the same variance.

    With random weights the color of a patch outweighs what is drawn on it.
    """
    values = torch.from_numpy(pixels).double() / 127.5 - 1
    mean = values.mean(0)
    variances, vectors = torch.linalg.eigh((values - mean).T @ (values - mean) / len(values))
    # The largest variances come last.
    kernel = (vectors[:, -WIDTH:] / (variances[-WIDTH:] + 1e-3).sqrt()).T
    conv = model.model.visual.patch_embed.proj
    conv.weight.copy_(kernel.float().reshape(WIDTH, 3, 1, PATCH, PATCH).expand_as(conv.weight) / 2)
    conv.bias.copy_(-(kernel @ mean).float())


class Hints(nn.Module):
    """What patches show, told by linear layers from the tower's last states. Only used in training."""

    SPLITS = (2 * (1 + len(LETTERS)), 2 * MAX_WORDS * MAX_LETTERS, 1 + len(KINDS), 1 + len(COLORS), *[MAX_SHAPES] * 3, 4, NUMBERS * BINS)

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, sum(self.SPLITS)))

    def losses(self, seen, images: list[Patches]) -> dict[str, torch.Tensor]:  # noqa: ANN001
        names = ("letters", "places", "kinds", "colors", "ranks", "names", "counts", "boxes", "numbers")
        truth = {name: torch.from_numpy(np.concatenate([getattr(image, name) for image in images])) for name in names}
        told = self.read(seen.last_hidden_state).float().split(self.SPLITS, 1)
        letters, places, kinds, colors, ranks, shown, counts, boxes, numbers = told
        ce = functional.cross_entropy
        letters = letters.reshape(-1, 1 + len(LETTERS))
        targets = truth["letters"].reshape(-1)
        inside = truth["kinds"] > 0
        # Those of the token, from each of its patches.
        has_numbers = ~torch.isnan(truth["numbers"][:, 0])
        numbers = numbers.reshape(-1, MERGE**2, NUMBERS, BINS)[has_numbers]
        wanted = places_of(truth["numbers"][has_numbers])[:, None].expand(-1, MERGE**2, -1, -1)
        return {
            # Most patches show no letter: both kinds count the same.
            "letters": _mean(letters, targets.masked_fill(targets == 0, IGNORED)),
            "blank": ce(letters, targets.masked_fill(targets > 0, IGNORED), ignore_index=IGNORED),
            "places": _mean(places.reshape(-1, MAX_WORDS * MAX_LETTERS), truth["places"].reshape(-1)),
            "kinds": ce(kinds, truth["kinds"]),
            "colors": ce(colors, truth["colors"]),
            "ranks": _mean(ranks, truth["ranks"]),
            "names": _mean(shown, truth["names"]),
            "counts": _mean(counts, truth["counts"]),
            "boxes": 2 * ((boxes - truth["boxes"]).abs().sum(1) * inside).sum() / inside.sum().clamp(min=1),
            "numbers": divergence(numbers, wanted),
        }


def _mean(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    count = (targets != IGNORED).sum().clamp(min=1)
    return functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum") / count


def read_text(model: Qwen3VLForConditionalGeneration, ids: torch.Tensor, positions: torch.Tensor, rows=None, deep=(), cache=None):  # noqa: ANN001, ANN201
    """Return the last states of tokens [samples, width] at positions [3, samples, width]; rows replace the pads."""
    language = model.model.language_model
    embedded = language.embed_tokens(ids)
    pads = ids == model.config.image_token_id
    if rows is not None and len(rows):
        embedded = embedded.clone()
        embedded[pads] = rows.to(embedded.dtype)
    else:
        deep = ()
    return language(
        inputs_embeds=embedded, position_ids=positions, visual_pos_masks=pads if deep else None,
        deepstack_visual_embeds=list(deep) or None, cache=cache, use_cache=cache is not None,
    ).last_hidden_state  # fmt: skip


@torch.no_grad()
def generate(model: Qwen3VLForConditionalGeneration, ids: list[int], images: list, end: int, most: int = 256) -> list[int]:
    """Return the greedy answer to a prompt."""
    grids = [image.grid if isinstance(image, Patches) else image[1] for image in images]
    positions = mrope_positions(ids, model.config.image_token_id, grids)
    rows, deep = None, ()
    if images:
        seen = see(model, images)
        rows, deep = seen.pooler_output, seen.deepstack_features
    cache = DynamicCache(config=model.config.text_config)
    states = read_text(model, torch.tensor([ids]), torch.from_numpy(positions)[:, None], rows, deep, cache)
    answer: list[int] = []
    position = int(positions.max()) + 1
    while len(answer) < most:
        token = int(model.lm_head(states[0, -1]).argmax())
        if token == end:
            break
        answer.append(token)
        at = torch.full((3, 1, 1), position + len(answer) - 1)
        states = read_text(model, torch.tensor([[token]]), at, cache=cache)
    return answer
