"""Draw pictures of coloured shapes and printed words, with the truth about them.

A picture follows from the `random.Random` that it is drawn with. Coordinates are pixels of the picture as drawn.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# The order of kinds and colours is that of descriptions.
KINDS = ("circle", "square", "triangle", "star", "heart", "diamond")
COLORS = {
    "red": (215, 35, 40),
    "orange": (245, 140, 25),
    "yellow": (240, 220, 50),
    "green": (45, 160, 65),
    "blue": (40, 85, 220),
    "purple": (125, 50, 165),
    "pink": (245, 135, 185),
    "black": (25, 25, 28),
}
MAX_SHAPES = 3
MAX_LETTERS = 6
MAX_WORDS = 2

# Files of the Debian package fonts-dejavu-core; `None` is the font in Pillow. All are sans serif, which a tower of this size
# learns to read within the hours of its training.
FONTS = (None, "DejaVuSans.ttf", "DejaVuSans-Bold.ttf")

# Sizes of fonts, in pixels; long words are smaller where there is no room.
LETTER_SIZES, SMALLEST_LETTERS = (34, 52), 28

Box = tuple[float, float, float, float]  # left, top, right, bottom

# Shapes are drawn this many times larger and reduced, which smooths their edges.
SUPERSAMPLING = 2


@dataclass(frozen=True)
class Shape:
    """A shape of a picture."""

    kind: str
    color: str
    box: Box

    @property
    def name(self) -> str:
        return f"{self.color} {self.kind}"


@dataclass(frozen=True)
class Word:
    """A printed word of a picture."""

    text: str
    box: Box
    # The centre of each letter.
    letters: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows."""

    image: Image.Image
    # In the order of descriptions: by kind, by colour, then from left to right.
    shapes: tuple[Shape, ...]
    # From top to bottom.
    words: tuple[Word, ...]
    # For each pixel the number of its shape, from 1, or 0: [height, width].
    owners: np.ndarray


def is_held_out(names: list[str]) -> bool:
    """Whether a set of two or more shapes is kept for tests: one in ten, by a hash of the names."""
    if len(names) < 2:
        return False
    return hashlib.sha256("/".join(sorted(names)).encode()).digest()[0] % 10 == 0


def draw(
    rng: random.Random,
    texts: list[str],
    shapes: int,
    held_out: bool = False,
    side_by_side: bool = False,
    size: tuple[int, int] | None = None,
) -> Picture:
    """Draw a picture with these words and a number of shapes, whose set is held out or not.

    `size` is its width and height. Fewer things are drawn if there is no room. Words may be `side_by_side`; else they are read from top to bottom.
    """
    width, height = size or picture_size(rng, bool(texts))
    dark = rng.random() < 0.12
    names = _names(rng, shapes, dark)
    while is_held_out(names) != (held_out and shapes > 1):
        names = _names(rng, shapes, dark)
    taken: list[Box] = []
    words = []
    background = _background(rng, width, height, dark)
    for text in texts:
        font, box = _place_word(rng, text, width, height, taken)
        if box is None or not side_by_side and any(min(box[3], b[3]) - max(box[1], b[1]) > -2 for _, _, b in words):
            continue
        taken.append(box)
        words.append((text, font, box))
    placed = []
    for name in names:
        box = _place(rng, width, height, taken, *_extent(rng, name.split()[1], width, height))
        if box is None:
            if held_out:
                return draw(rng, texts, shapes, held_out, side_by_side, size)
            continue
        taken.append(box)
        placed.append((name, box))
    if is_held_out([name for name, _ in placed]) != (held_out and shapes > 1) or not taken:
        return draw(rng, texts, shapes, held_out, side_by_side, size)
    return _paint(rng, background, placed, words, dark)


def picture_size(rng: random.Random, words: bool = False) -> tuple[int, int]:
    """Draw the width and height of a picture; one with words is wide, so that a letter is about as wide as a token."""
    area = rng.uniform(20_000, 27_000) if words else rng.uniform(15_000, 22_000)
    aspect = math.exp(rng.uniform(0.45, 0.8) if words else rng.uniform(-0.3, 0.4))
    return round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))


def _names(rng: random.Random, count: int, dark: bool) -> list[str]:
    colors = [color for color in COLORS if not (dark and color == "black")]
    names: list[str] = []
    for _ in range(count):
        repeated = names and rng.random() < 0.3
        names.append(rng.choice(names) if repeated else f"{rng.choice(colors)} {rng.choice(KINDS)}")
    return names


def _background(rng: random.Random, width: int, height: int, dark: bool) -> np.ndarray:
    """Return a plain, graded or grainy background: [height, width, 3]."""
    if dark:
        low = high = [rng.uniform(25, 60)] * 3
    else:
        low = [rng.uniform(205, 255) for _ in range(3)] if rng.random() < 0.7 else [255.0] * 3
        high = [min(255.0, max(195.0, value + rng.uniform(-35, 35))) for value in low]
    ramp = np.zeros((height, width, 1))
    if rng.random() < 0.4:
        x, y = np.linspace(0, 1, width)[None, :, None], np.linspace(0, 1, height)[:, None, None]
        turn = rng.random()
        ramp = ramp + turn * x + (1 - turn) * y
    values = np.array(low) * (1 - ramp) + np.array(high) * ramp
    if rng.random() < 0.35:
        grain = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(2, 8), (height, width, 1))
        values = values + grain
    return values.clip(0, 255).astype(np.uint8)


@cache
def _font(name: str | None, size: int) -> ImageFont.FreeTypeFont:
    if name is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(name, size)
    except OSError as error:
        raise SystemExit(f"font {name} is missing: install fonts-dejavu-core") from error


def _place_word(
    rng: random.Random, text: str, width: int, height: int, taken: list[Box]
) -> tuple[ImageFont.FreeTypeFont, Box | None]:
    name = rng.choice(FONTS)
    size = rng.randint(*LETTER_SIZES)
    while True:
        font = _font(name, size)
        left, top, right, bottom = font.getbbox(text)
        box = _place(rng, width, height, taken, right - left, bottom - top)
        if box is not None or size <= SMALLEST_LETTERS:
            return font, box
        size = max(SMALLEST_LETTERS, size * 4 // 5)


def _extent(rng: random.Random, kind: str, width: int, height: int) -> tuple[float, float]:
    side = rng.uniform(32, min(100.0, 0.6 * min(width, height)))
    if kind in ("circle", "square"):
        return side, side
    return side * rng.uniform(0.85, 1.0), side * rng.uniform(0.85, 1.0)


def _place(rng: random.Random, width: int, height: int, taken: list[Box], w: float, h: float) -> Box | None:
    """Return a free place for a thing of this size, smaller after some trials (by a fifth at most), or `None`."""
    for trial in range(24):
        if w + 6 > width or h + 6 > height:
            return None
        x, y = rng.uniform(3, width - 3 - w), rng.uniform(3, height - 3 - h)
        if all(x + w + 5 < l or x > r + 5 or y + h + 5 < t or y > b + 5 for l, t, r, b in taken):
            return (x, y, x + w, y + h)
    return None


def _outline(kind: str, box: Box) -> list[tuple[float, float]]:
    """Return the corners of a shape that fills `box`."""
    if kind == "square":
        points = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    elif kind == "triangle":
        points = [(0.5, 0.0), (1.0, 1.0), (0.0, 1.0)]
    elif kind == "diamond":
        points = [(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)]
    elif kind == "star":
        turns = [math.pi * (i / 5 - 0.5) for i in range(10)]
        points = [(math.cos(a) * r, math.sin(a) * r) for a, r in zip(turns, [1, 0.42] * 5)]
    elif kind == "heart":
        turns = [2 * math.pi * i / 48 for i in range(48)]
        points = [
            (
                16 * math.sin(a) ** 3,
                -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)),
            )
            for a in turns
        ]
    else:
        points = [(math.cos(2 * math.pi * i / 64), math.sin(2 * math.pi * i / 64)) for i in range(64)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, top, right, bottom = box
    return [
        (
            left + (x - min(xs)) / (max(xs) - min(xs)) * (right - left),
            top + (y - min(ys)) / (max(ys) - min(ys)) * (bottom - top),
        )
        for x, y in points
    ]


def _paint(
    rng: random.Random,
    background: np.ndarray,
    placed: list[tuple[str, Box]],
    words: list[tuple[str, ImageFont.FreeTypeFont, Box]],
    dark: bool,
) -> Picture:
    height, width = background.shape[:2]
    order = list(COLORS)
    placed.sort(key=lambda item: (KINDS.index(item[0].split()[1]), order.index(item[0].split()[0]), item[1][0]))
    image = Image.fromarray(background)
    owners = Image.new("L", (width, height))
    for number, (name, box) in enumerate(placed):
        color, kind = name.split()
        paint = tuple(min(255, max(0, value + rng.randint(-14, 14))) for value in COLORS[color])
        points = _outline(kind, box)
        ImageDraw.Draw(owners).polygon(points, fill=number + 1)
        # Only the surroundings of the shape are drawn larger.
        left, top = math.floor(box[0]) - 1, math.floor(box[1]) - 1
        size = (math.ceil(box[2]) + 1 - left, math.ceil(box[3]) + 1 - top)
        mask = Image.new("L", (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING))
        scaled = [((x - left) * SUPERSAMPLING, (y - top) * SUPERSAMPLING) for x, y in points]
        ImageDraw.Draw(mask).polygon(scaled, fill=255)
        image.paste(paint, (left, top), mask.reduce(SUPERSAMPLING))
    words.sort(key=lambda word: word[2][1])
    pen = ImageDraw.Draw(image)
    printed = []
    for text, font, (left, top, right, bottom) in words:
        if dark:
            ink = tuple(rng.randint(215, 255) for _ in range(3))
        elif rng.random() < 0.7:
            ink = (rng.randint(0, 60),) * 3
        else:
            ink = COLORS[rng.choice(["red", "blue", "purple", "black"])]
        offset = font.getbbox(text)
        x, y = round(left) - offset[0], round(top) - offset[1]
        pen.text((x, y), text, fill=ink, font=font)
        middle = (top + bottom) / 2
        ends = [font.getlength(text[:i]) for i in range(len(text) + 1)]
        letters = tuple((x + (a + b) / 2, middle) for a, b in zip(ends, ends[1:]))
        printed.append(Word(text, (round(left), round(top), round(left) + right - left, round(top) + bottom - top), letters))
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.7)))
    shapes = tuple(Shape(name.split()[1], name.split()[0], box) for name, box in placed)
    return Picture(image, shapes, tuple(printed), np.asarray(owners))
