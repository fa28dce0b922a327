"""Training samples about pictures: tokens, positions, patches, and what each patch shows."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from queue import Empty, Full
from typing import TypeVar

import numpy as np
from PIL import Image
from tokenizers import Tokenizer
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

import gaze
from acting import Acting
from corpus import Corpus
from looking import SPELLED, Look, Looking, plain
from pictures import COLORS, KINDS, MAX_LETTERS, MAX_WORDS, Picture
from skills import Turn
from train import SPOKEN, render
from truth import LETTERS, MERGE, token_truth

T = TypeVar("T")

PATCH = 16
TOKEN = PATCH * MERGE
# The range of an image's pixels: 16 to 64 tokens.
MIN_PIXELS, MAX_PIXELS = 16_384, 65_536
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
IGNORED = -100
# The unit of the boxes that a patch is trained to tell, in pixels.
BOX_UNIT = 64.0


@dataclass(frozen=True)
class Patches:
    """A picture as patches in the order of the tower, and what each of them shows."""

    pixels: np.ndarray  # u8 [patches, 3 * 16 * 16]: channel, row, column
    grid: tuple[int, int]  # rows and columns of patches
    # What each patch shows; numbers of classes, 0 for nothing, `IGNORED` where a question makes no sense.
    letters: np.ndarray  # [patches, 2]: the letter whose middle is in the left and in the right half
    places: np.ndarray  # [patches, 2]: the place of that letter in its word, and which word it is
    kinds: np.ndarray  # [patches]: of the shape at the middle of the patch
    colors: np.ndarray  # [patches]
    ranks: np.ndarray  # [patches]: the place of the shape among all, in the order of descriptions
    names: np.ndarray  # [patches]: the place of its name in the description
    counts: np.ndarray  # [patches]: how many shapes have that name, less one
    boxes: np.ndarray  # f32 [patches, 4]: the distances of the shape's sides from the middle of the patch
    # What each token shows (truth.py).
    classes: np.ndarray  # [tokens, 9]
    numbers: np.ndarray  # f32 [tokens, 6]


def image_patches(image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize an image as the processor does; return its patches and their grid."""
    width, height = image.size
    height, width = smart_resize(height, width, TOKEN, MIN_PIXELS, MAX_PIXELS)
    values = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    return _in_tower_order(values), (height // PATCH, width // PATCH)


def _in_tower_order(values: np.ndarray) -> np.ndarray:
    """[height, width, channels] -> [patches, channels * 16 * 16], the patches of a token side by side."""
    rows, columns = values.shape[0] // TOKEN, values.shape[1] // TOKEN
    values = values.reshape(rows, MERGE, PATCH, columns, MERGE, PATCH, -1)
    return values.transpose(0, 3, 1, 4, 6, 2, 5).reshape(rows * columns * MERGE * MERGE, -1)


def picture_patches(picture: Picture) -> Patches:
    """Return the patches of a picture with what they show."""
    pixels, (rows, columns) = image_patches(picture.image)
    width, height = picture.image.size
    scale = np.array([columns * PATCH / width, rows * PATCH / height])
    letters = np.zeros((rows, columns, 2), np.int64)
    places = np.full((rows, columns, 2), IGNORED, np.int64)
    # Words side by side have no order.
    in_lines = len(picture.words) <= MAX_WORDS and all(a.box[3] < b.box[1] for a, b in pairwise(picture.words))
    for number, word in enumerate(picture.words):
        for index, (letter, middle) in enumerate(zip(word.text, word.letters)):
            x, y = middle * scale
            at = min(int(y / PATCH), rows - 1), min(int(x / PATCH), columns - 1), int(x / (PATCH / 2)) % 2
            letters[at] = 1 + letter_class(letter)
            if in_lines:
                places[at] = number * MAX_LETTERS + index
    ys = np.minimum(((np.arange(rows) + 0.5) * PATCH / scale[1]).astype(int), height - 1)
    xs = np.minimum(((np.arange(columns) + 0.5) * PATCH / scale[0]).astype(int), width - 1)
    owners = picture.owners[ys][:, xs].astype(np.int64)  # [rows, columns]
    named = Counter(shape.name for shape in picture.shapes)
    table = [(0, 0, IGNORED, IGNORED, IGNORED)] + [
        (1 + KINDS.index(shape.kind), 1 + list(COLORS).index(shape.color), rank, list(named).index(shape.name), named[shape.name] - 1)
        for rank, shape in enumerate(picture.shapes)
    ]
    kinds, colors, ranks, names, counts = (np.array(column)[owners] for column in zip(*table))
    boxes = np.zeros((rows, columns, 4), np.float32)
    middles = np.stack(np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5), -1) * PATCH
    for number, shape in enumerate(picture.shapes):
        box = np.array(shape.box).reshape(2, 2) * scale
        inside = owners == number + 1
        boxes[inside] = ((box[None] - middles[inside][:, None]) / BOX_UNIT).reshape(-1, 4)
    ordered = [_cells(values) for values in (letters, places, kinds, colors, ranks, names, counts, boxes)]
    ordered[2:7] = [values[:, 0] for values in ordered[2:7]]
    return Patches(pixels, (rows, columns), *ordered, *token_truth(picture, ordered[:7]))


def _cells(values: np.ndarray) -> np.ndarray:
    """[rows, columns, ...] -> [patches, ...] in the tower's order."""
    rows, columns = values.shape[0] // MERGE, values.shape[1] // MERGE
    values = values.reshape(rows, MERGE, columns, MERGE, -1).transpose(0, 2, 1, 3, 4)
    return values.reshape(rows * columns * MERGE * MERGE, -1)


def letter_class(letter: str) -> int:
    return LETTERS.index(letter)


@dataclass
class Sample:
    """A conversation as tokens."""

    ids: list[int] = field(default_factory=list)
    # Of each token as a target; 0 outside answers.
    weights: list[float] = field(default_factory=list)
    patches: list[Patches] = field(default_factory=list)
    # Where positions should look.
    targets: list[gaze.Target] = field(default_factory=list)

    def positions(self, image_id: int) -> np.ndarray:
        """Return the positions of the tokens in time, height and width: [3, tokens]."""
        return mrope_positions(self.ids, image_id, [patches.grid for patches in self.patches])


def mrope_positions(ids: list[int], image_id: int, grids: list[tuple[int, int]]) -> np.ndarray:
    positions = np.empty((3, len(ids)), np.int64)
    remaining = iter(grids)
    at = next_position = 0
    while at < len(ids):
        if ids[at] != image_id:
            positions[:, at] = next_position
            at, next_position = at + 1, next_position + 1
            continue
        rows, columns = (side // MERGE for side in next(remaining))
        span = positions[:, at : at + rows * columns]
        span[0] = next_position
        span[1] = next_position + np.repeat(np.arange(rows), columns)
        span[2] = next_position + np.tile(np.arange(columns), rows)
        at, next_position = at + rows * columns, next_position + max(rows, columns)
    return positions


class Encoder:
    """Turns conversations with pictures into tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.image_id = tokenizer.token_to_id("<|image_pad|>")

    def text(self, text: str, grids: Iterator[tuple[int, int]]) -> list[int]:
        """Encode a text; each pad becomes as many as the next image has tokens."""
        ids = []
        for id in self.tokenizer.encode(text).ids:
            if id == self.image_id:
                rows, columns = next(grids)
                ids += [id] * (rows * columns // MERGE**2)
            else:
                ids.append(id)
        return ids

    def answer(self, answer: str) -> list[int]:
        """Encode an answer; what it spells has one token per letter."""
        ids = []
        for index, part in enumerate(SPELLED.split(answer)):
            if index % 2:
                ids += [self.tokenizer.token_to_id(letter) for letter in part]
            else:
                ids += self.tokenizer.encode(part).ids
        return ids

    def prompt(self, system: str | None, turns: list[Turn], grids: list[tuple[int, int]]) -> list[int]:
        """Encode all turns but the last answer."""
        text, _, _ = render(system, turns).rpartition("<|im_start|>assistant\n")
        return self.text(text + "<|im_start|>assistant\n", iter(grids))

    def sample(
        self, rng: random.Random, system: str | None, turns: list[Turn], pictures: list[Picture]
    ) -> Sample:
        """Encode a conversation for training."""
        sample = Sample(patches=[picture_patches(picture) for picture in pictures])
        grids = iter([patches.grid for patches in sample.patches])
        *pieces, _ = SPOKEN.split(render(system, turns))
        for index, piece in enumerate(pieces):
            spoken = index % 2 == 1
            # In a later turn the words that were read have the tokens of the tokenizer.
            if spoken and index < len(pieces) - 1 and SPELLED.search(piece) and rng.random() < 0.5:
                spoken, piece = False, plain(piece)
            ids = self.answer(piece) if spoken else self.text(piece, grids)
            sample.ids += ids
            sample.weights += [len(ids) ** -0.5 if spoken else 0.0] * len(ids)
        answered = [weight > 0 for weight in sample.weights]
        sample.targets = gaze.targets(sample.ids, answered, sample.patches, pictures, self.tokenizer)
        return sample


class Conversations:
    """Draws conversations about pictures."""

    def __init__(self, corpus: Corpus, looking: Looking, encoder: Encoder) -> None:
        self.corpus, self.looking, self.encoder = corpus, looking, encoder
        self.acting = Acting()

    def draw(self, rng: random.Random, ease: float) -> Sample:
        system = rng.choice(self.corpus.paraphraser.systems) if rng.random() < 0.08 else None
        turns: list[Turn] = []
        pictures: list[Picture] = []
        if rng.random() < 0.1:
            turns.append(self.corpus._turn(rng, 1.0))
        if ease > 0.5 and rng.random() < 0.02:
            question = rng.choice([*self.looking.ask["describe"], *self.looking.ask["read"]])
            turns.append(Turn(question, self.looking.answers["no_picture"]))
            return self.encoder.sample(rng, system, turns, [])
        if ease > 0.5 and rng.random() < 0.05:
            picture = self.looking.picture(rng, ease, form="shapes")
            if look := self.acting.look(rng, picture):
                return self.encoder.sample(rng, look.system, [*turns, self._turn(rng, look, 1)], [picture])
        if ease > 0.5 and rng.random() < 0.06:
            pictures, turn = self._video(rng)
            turns.append(turn)
        elif ease > 0.5 and rng.random() < 0.12:
            pictures = [self.looking.picture(rng, ease * 0.7) for _ in range(2)]
            turns.append(self._turn(rng, self.looking.pair(rng, pictures), 2))
        else:
            pictures = [self.looking.picture(rng, ease)]
            turns.append(self._turn(rng, self.looking.look(rng, pictures[0]), 1))
            # More questions about the same picture cost little.
            while rng.random() < 0.75 and len(turns) < 6:
                turns.append(self._turn(rng, self.looking.look(rng, pictures[0]), 0))
        if rng.random() < 0.05:
            turns.append(self.corpus._turn(rng, 1.0))
        return self.encoder.sample(rng, system, turns, pictures)

    def draw_places(self, rng: random.Random, ease: float) -> Sample:
        """Draw a conversation about the places of shapes or words."""
        form = rng.choice(["shapes", "shapes", "words"])
        return self._about_one(rng, ease, form, {"box": 3, "point": 3, "boxes": 1} if form == "shapes" else {"spot": 4, "html": 1}, 4)

    def draw_easy(self, rng: random.Random, ease: float) -> Sample:
        """Draw a conversation about shapes or words only, without coordinates."""
        form = rng.choice(["shapes", "words"])
        tasks = {"describe": 4, "color_of": 2, "kind_of": 1} if form == "shapes" else {"read": 4, "describe": 1}
        return self._about_one(rng, ease, form, tasks, rng.randint(1, 4))

    def _about_one(self, rng: random.Random, ease: float, form: str, tasks: dict[str, int], count: int) -> Sample:
        """Draw a picture and `count` questions about it, of tasks with these weights."""
        picture = self.looking.picture(rng, ease, form=form)
        looks = [self.looking.look(rng, picture, *rng.choices(list(tasks), tasks.values())) for _ in range(count)]
        turns = [self._turn(rng, look, int(index == 0)) for index, look in enumerate(looks)]
        return self.encoder.sample(rng, None, turns, [picture])

    def _turn(self, rng: random.Random, look: Look, images: int) -> Turn:
        question = look.question
        if rng.random() < 0.12:
            question = question.lower()
        if rng.random() < 0.12:
            question = question.rstrip(".?")
        shown = IMAGE * images
        return Turn(question + shown if rng.random() < 0.15 else shown + question, look.answer)


    def _video(self, rng: random.Random) -> tuple[list[Picture], Turn]:
        """Draw a video, whose scenes have one pair of frames or two, and ask about it."""
        scenes = self.looking.scenes(rng)
        pairs = [rng.randint(1, 2) for _ in scenes]
        pictures, shown, times = spread(scenes, pairs, step=rng.choice([0.25, 0.5, 0.5, 1.0]))
        look = self.looking.watch(rng, scenes, times)
        return pictures, Turn(shown + look.question, look.answer)


def spread(scenes: list[Picture], pairs: list[int], step: float) -> tuple[list[Picture], str, list[float]]:
    """Return the picture of each pair of frames, their place in a prompt, and the times at which scenes begin and end.

    `step` is the time between two frames, in seconds.
    """
    pictures = [scene for scene, count in zip(scenes, pairs) for _ in range(count)]
    # The time of a pair is the mean of the times of its frames.
    stamps = [f"<{2 * step * number + step / 2:.1f} seconds>{IMAGE}" for number in range(len(pictures))]
    times = [2 * step * sum(pairs[:index]) for index in range(len(pairs) + 1)]
    return pictures, f"<|vision_start|>{''.join(stamps)}<|vision_end|>", times


def produce(draw: Callable[[int], T], first: int, last: int, ahead: int = 4) -> Iterator[T]:
    """Yield `draw(step)` for steps from `first` to `last`, drawn in a process of its own."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue(ahead)
    parent = os.getpid()

    def work() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for step in range(first, last):
            drawn = draw(step)
            while True:
                # Nobody stops this process if its parent is killed.
                if os.getppid() != parent:
                    return
                with suppress(Full):
                    queue.put(drawn, timeout=10)
                    break

    process = context.Process(target=work, daemon=True)
    process.start()
    try:
        for _ in range(first, last):
            while True:
                with suppress(Empty):
                    drawn = queue.get(timeout=5)
                    break
                # A signal to the whole group ends it.
                if not process.is_alive():
                    return
            yield drawn
    finally:
        process.terminate()
