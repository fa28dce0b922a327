"""Where the text model should look while it answers: hints for its attention.

A model that attends to all tokens of a picture alike gets so little of the one that matters that it learns nothing for a
thousand steps. The hints ask two heads of one layer to attend to the tokens that show what is being said: the shape or
word whose coordinates are told, or the letter that is spelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from tokenizers import Tokenizer

from pictures import MAX_LETTERS, Picture

# The layer and its heads, which belong to different key and value heads.
LAYER, HEADS = 2, (0, 2)
# Coordinates in an answer: a box, or a point.
COORDINATES = re.compile(r"(\d+),? (\d+),? (\d+),? (\d+)(?![\d.])|(\d+), (\d+)\]")
# Coordinates are rounded to tens of thousandths.
UNIT = 10

# The tokens that a position should attend to.
Target = tuple[int, np.ndarray]


def targets(ids: list[int], spoken: Sequence[bool], shown: list, pictures: list[Picture], tokenizer: Tokenizer) -> list[Target]:
    """Return the positions of a conversation that predict coordinates or letters, and where each should look.

    `shown` is the truth about the pictures' tokens (`vision_data.Patches`), `spoken` says which tokens the model answers.
    """
    pad = tokenizer.token_to_id("<|image_pad|>")
    places = np.flatnonzero(np.array(ids) == pad)
    if not len(places):
        return []
    classes, numbers = (np.concatenate([getattr(one, name) for one in shown]) for name in ("classes", "numbers"))
    owners = np.repeat(np.arange(len(shown)), [len(one.classes) for one in shown])
    text, at = _spoken_text(ids, spoken, tokenizer)
    found: list[Target] = []
    rounded = UNIT * np.round(100 * numbers)
    for match in COORDINATES.finditer(text):
        told = np.array([int(number) for number in match.groups() if number])
        own = rounded[:, :4] if len(told) == 4 else rounded[:, 4:]
        # NaN is near nothing.
        keys = places[(np.abs(own - told) <= UNIT).all(1)]
        found += [(at[index] - 1, keys) for index in range(*match.span()) if text[index].isdigit() and len(keys)]
    for number, picture in enumerate(pictures):
        for nth, word in enumerate(picture.words):
            for match in re.finditer(re.escape(word.text), text):
                for index, letter in enumerate(word.text, match.start()):
                    place = 1 + nth * MAX_LETTERS + index - match.start()
                    shows = (classes[:, 1] == place) & (classes[:, 0] > 0) | (classes[:, 3] == place) & (classes[:, 2] > 0)
                    keys = places[shows & (owners == number)]
                    # Only where it is spelled letter by letter.
                    if len(keys) and tokenizer.decode([ids[at[index]]]) == letter:
                        found.append((at[index] - 1, keys))
    return found


def _spoken_text(ids: list[int], spoken: Sequence[bool], tokenizer: Tokenizer) -> tuple[str, list[int]]:
    """Return the text of all answers, and the token of each of its characters."""
    text, at = "", []
    before = None
    for place in np.flatnonzero(spoken).tolist():
        piece = tokenizer.decode([ids[place]], skip_special_tokens=False)
        if before is not None and place != before + 1:
            piece = "\n\n" + piece
        text, at, before = text + piece, at + [place] * len(piece), place
    return text, at


class Gaze:
    """Collects how far the attention is from the targets."""

    def __init__(self) -> None:
        self._wanted: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._losses: list[torch.Tensor] = []

    @contextmanager
    def towards(self, part: list[list[Target]], width: int) -> Iterator[None]:
        """Collect during a pass of samples with these targets, padded to `width` tokens."""
        flat = [(sample, place, keys) for sample, found in enumerate(part) for place, keys in found]
        masks = torch.zeros(len(flat), width)
        for mask, (_, _, keys) in zip(masks, flat):
            mask[keys] = 1
        samples, places = (torch.tensor([one[axis] for one in flat], dtype=torch.long) for axis in (0, 1))
        self._wanted = (samples, places, masks) if flat else None
        try:
            yield
        finally:
            self._wanted = None

    def note(self, layer: int, shares: torch.Tensor) -> None:
        """Take the attention of a layer: [samples, heads, tokens, tokens]."""
        if self._wanted is not None and layer == LAYER:
            samples, places, masks = self._wanted
            for head in HEADS:
                self._losses.append(-((shares[samples, head, places] * masks).sum(-1) + 1e-4).log())

    def take(self) -> torch.Tensor:
        """Return the mean loss since the last call: the negative logarithm of the attention to the right tokens."""
        loss = torch.cat(self._losses).mean() if self._losses else torch.zeros(())
        self._losses.clear()
        return loss


GAZE = Gaze()
