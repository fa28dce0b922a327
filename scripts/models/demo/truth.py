"""Rows made of the truth: what a tower should make of a picture, for the text model to learn from before there is one.

A row is the sum of a fixed random vector for each thing that its token of the image shows. Both models can learn from these
apart: the text model from the rows themselves, the tower by making them.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pictures import COLORS, KINDS, MAX_LETTERS, MAX_SHAPES, MAX_WORDS, Picture

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Patches side by side, and one above the other, in a token of an image.
MERGE = 2

# What a token shows, in classes from 1; 0 is nothing: the letters in its left and right column of patches, each with its place
# among all letters, then kind, color and rank of a shape, the place of its name in the description, and how many have it.
_LETTER, _PLACE = 1 + len(LETTERS), 1 + MAX_WORDS * MAX_LETTERS
CLASSES = (_LETTER, _PLACE, _LETTER, _PLACE, 1 + len(KINDS), 1 + len(COLORS), *[1 + MAX_SHAPES] * 3)
# Left, top, right, bottom and middle of the token's shape or word, as weights of so many places along a side.
NUMBERS, BINS = 6, 21
# The deviation of embeddings in the text model.
DEVIATION = 0.06


def token_truth(picture: Picture, patches: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what each token of an image shows: classes [tokens, 9], and numbers in shares of the sides [tokens, 6] or NaN.

    `patches` is what its patches show: letters, places, kinds, colors, ranks, names and counts, as in `vision_data.Patches`.
    """
    letters, places, kinds, colors, ranks, names, counts = (values.reshape(-1, MERGE**2, *values.shape[1:]) for values in patches)
    classes = np.zeros((len(letters), len(CLASSES)), np.int64)
    numbers = np.full((len(letters), NUMBERS), np.nan, np.float32)
    for token in range(len(letters)):
        word = None
        for patch, half in zip(*np.nonzero(letters[token])):
            place = places[token, patch, half]
            slot = 2 * (patch % MERGE)
            if classes[token, slot] == 0 or 0 <= place < classes[token, slot + 1] - 1:
                classes[token, slot : slot + 2] = letters[token, patch, half], 1 + place if place >= 0 else 0
            if place >= 0 and (word is None or place // MAX_LETTERS < word):
                word = place // MAX_LETTERS
        shown = Counter(ranks[token][kinds[token] > 0].tolist())
        if shown:
            rank = shown.most_common(1)[0][0]
            patch = int(np.argmax((kinds[token] > 0) & (ranks[token] == rank)))
            classes[token, 4:] = kinds[token, patch], colors[token, patch], 1 + rank, 1 + names[token, patch], 1 + counts[token, patch]
            box = picture.shapes[rank].box
        elif word is not None:
            box = picture.words[word].box
        else:
            continue
        left, top, right, bottom = (value / side for value, side in zip(box, picture.image.size * 2))
        numbers[token] = np.clip([left, top, right, bottom, (left + right) / 2, (top + bottom) / 2], 0, 0.999)
    return classes, numbers


def places_of(numbers: torch.Tensor) -> torch.Tensor:
    """Return the weights of places along a side [tokens, 6, BINS] for numbers [tokens, 6]; 0 for NaN."""
    distance = torch.nan_to_num(numbers)[:, :, None] * (BINS - 1) - torch.arange(BINS)
    return 0.75 * torch.exp(-(distance**2) / 2) * ~torch.isnan(numbers)[:, :, None]


class TrueRows(nn.Module):
    """Makes rows of the truth. Nothing in it learns."""

    def __init__(self, width: int, seed: int = 5) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)

        def vectors(count: int) -> torch.Tensor:
            return DEVIATION * torch.randn(count, width, generator=source)

        self.sizes = CLASSES
        self.register_buffer("base", vectors(1)[0])
        self.register_buffer("classes", vectors(sum(CLASSES)))
        self.register_buffer("places", vectors(NUMBERS * BINS))
        starts = np.cumsum([0, *CLASSES[:-1]])
        self.register_buffer("starts", torch.from_numpy(starts))
        with torch.no_grad():
            self.classes[self.starts] = 0.0  # nothing

    def forward(self, classes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Return rows [tokens, width]."""
        return self.base + self.classes[classes + self.starts].sum(1) + places_of(numbers).flatten(1) @ self.places

    def losses(self, rows: torch.Tensor, classes: torch.Tensor, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return how far rows [tokens, width] are from the true ones: as a whole, and as to what can be told from them."""
        error = (rows - self(classes, numbers)).pow(2).mean(1) / DEVIATION**2
        shows = (classes > 0).any(1)
        told = self._likeness(rows, self.classes).split(self.sizes, 1)
        each = [functional.cross_entropy(one, wanted, ignore_index=0, reduction="sum") / (wanted > 0).sum().clamp(min=1) for one, wanted in zip(told, classes.T)]
        has_place = ~torch.isnan(numbers[:, 0])
        wanted = places_of(numbers[has_place])
        found = self._likeness(rows[has_place], self.places).reshape(-1, NUMBERS, BINS)
        return {
            "rows": (_mean_of(error, shows) + _mean_of(error, ~shows)) / 16,
            "told": 0.15 * sum(each),
            "placed": 2 * divergence(found, wanted),
        }

    def _likeness(self, rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return how well vectors explain rows, as logits."""
        return ((rows - self.base) @ vectors.T - 0.5 * vectors.pow(2).sum(1)) / 0.15


def divergence(logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean Kullback-Leibler divergence of the softmax of logits from weights that need not sum to 1."""
    if not len(logits):
        return logits.sum()
    shares = weights / weights.sum(-1, keepdim=True)
    return functional.kl_div(logits.log_softmax(-1), shares, reduction="none").sum(-1).mean()


def _mean_of(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return values[chosen].mean() if chosen.any() else values.sum() * 0
