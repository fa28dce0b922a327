"""Questions about pictures, with their answers: descriptions, counts, places, boxes in Qwen3-VL's format and words."""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pictures import COLORS, KINDS, MAX_LETTERS, MAX_SHAPES, Box, Picture, Shape, draw, picture_size
from skills import made_up_word

NUMBERS = ("zero", "one", "two", "three", "four")
# Spans that the model spells letter by letter, as it reads them.
SPELLED = re.compile("\x01([^\x02]*)\x02")
# Words of these letters look the same in both cases.
SAME_IN_BOTH_CASES = re.compile("[cosvwxz]+")


def spelled(text: str) -> str:
    """Mark a printed word of an answer."""
    return f"\x01{text}\x02"


def plain(answer: str) -> str:
    """Return an answer without the marks of `spelled`."""
    return SPELLED.sub(r"\1", answer)


@dataclass(frozen=True)
class Look:
    """One question about pictures. `answer` has the marks of `spelled`."""

    task: str
    question: str
    answer: str
    system: str | None = None


@dataclass(frozen=True)
class Case:
    """A question of an evaluation with its pictures."""

    pictures: tuple[Picture, ...]
    look: Look
    # If the pictures are a video: the seconds between its frames, of which each picture has two.
    step: float | None = None


def relative(box: Box, picture: Picture) -> list[int]:
    """Return a box in thousandths of the picture's sides, rounded to tens."""
    width, height = picture.image.size
    return [10 * round(100 * value / side) for value, side in zip(box, (width, height) * 2)]


def middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def boxes_json(picture: Picture, shapes: list[Shape]) -> str:
    return json.dumps([{"bbox_2d": relative(shape.box, picture), "label": shape.name} for shape in shapes])


def describe(picture: Picture) -> str:
    """Return the only right description of a picture."""
    counts = Counter(shape.name for shape in picture.shapes)
    things = [
        f"{'an' if name[0] in 'aeiou' else 'a'} {name}" if count == 1 else f"{NUMBERS[count]} {name}s"
        for name, count in counts.items()
    ]
    if picture.words:
        quoted = " and ".join(f'"{spelled(word.text)}"' for word in picture.words)
        things.append(f"the word{'s' if len(picture.words) > 1 else ''} {quoted}")
    *others, last = things
    text = f"{', '.join(others)} and {last}" if others else last
    return text[0].upper() + text[1:] + "."


class Looking:
    """Draws pictures and questions about them."""

    def __init__(self, path: Path = Path(__file__).with_name("vision.toml")) -> None:
        rules = tomllib.loads(path.read_text())
        self.ask: dict[str, list[str]] = rules["ask"]
        self.answers: dict[str, str] = rules["answer"]
        self.words: dict[str, list[str]] = rules["words"]
        self.german: dict = rules["german"]
        self.kept = set(self.words["held_out"])

    def texts(self) -> list[str]:
        """Return the texts that the tokenizer should have words for."""
        questions = [question for asked in self.ask.values() for question in asked]
        names = [f"{color} {kind}" for color in COLORS for kind in KINDS]
        described = [f"A {name}. Two {name}s, three {name}s and four {name}s." for name in names]
        listed = [json.dumps([{"bbox_2d": [1, 2, 3, 4], "label": name}, {"point_2d": [5, 6], "label": name}]) for name in names]
        words = ['<html><body>\n<p data-bbox="1 2 3 4">x</p>\n</body></html>\n', 'The words "x" and "y" "text_content": "x"}] [{"bbox_2d": [1, 2, 3, 4]', "At the top left. bottom right. In the middle."]
        words += [json.dumps({"label": name, "name": self.german_name(name)}, ensure_ascii=False) for name in names]
        words += [_events_json([(0, 2.5, f"A {name}.")]) for name in names[:8]]
        words += [number.capitalize() for number in NUMBERS]
        colors = [f"{color.capitalize()}. A {color}. An {color}" for color in COLORS]
        return [*(re.sub("{.*?}", "", question) for question in questions), *self.answers.values(), *described, *listed, *words, *colors]

    def picture(
        self, rng: random.Random, ease: float = 1.0, held_out: bool = False, form: str | None = None, dense: bool = False
    ) -> Picture:
        """Draw a picture. `ease` grows from 0 (one thing) to 1 (all that there is). A `dense` one is full of words."""
        form = form or rng.choices(["shapes", "words", "both"], [2, 6, 2] if dense else [4, 4, 2 * ease])[0]
        most = 1 + round(ease * (MAX_SHAPES - 1))
        shapes = {"shapes": rng.randint(1, most), "words": 0, "both": rng.randint(1, min(3, most))}[form]
        words = {"shapes": 0, "words": rng.choices([1, 2], [7, 2 * ease])[0], "both": 1}[form]
        if dense and words:
            words = rng.randint(2, 4)
        return draw(rng, [self.word(rng, held_out, 1 - 0.4 * ease) for _ in range(words)], shapes, held_out, dense)

    def word(self, rng: random.Random, held_out: bool = False, capital_share: float = 0.6) -> str:
        """Draw a word of three to six letters, in capitals or small letters."""
        while True:
            if held_out:
                word = rng.choice(self.words["held_out"])
            elif rng.random() < 0.35:
                word = rng.choice(self.words["train"])
            elif rng.random() < 0.6:
                word = made_up_word(rng)
            else:
                word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, MAX_LETTERS)))
            fits = 3 <= len(word) <= MAX_LETTERS and (held_out or word not in self.kept)
            capitals = rng.random() < capital_share
            if fits and (capitals or not SAME_IN_BOTH_CASES.fullmatch(word)):
                return word.upper() if capitals else word

    def look(self, rng: random.Random, picture: Picture, task: str | None = None) -> Look:
        """Draw a question about a picture, of one task if given."""
        tasks = self._tasks(picture)
        chosen = task or rng.choices(list(tasks), [weight for weight, _ in tasks.values()])[0]
        while True:
            found = tasks[chosen][1](rng)
            if found is not None:
                return Look(chosen, *found)
            chosen = "describe"

    def german_name(self, name: str) -> str:
        """Return the German name of a thing such as "red circle"."""
        color, kind = name.split()
        noun, gender = self.german["kinds"][kind]
        stem = self.german["colors"].get(color)
        return f"{stem + self.german['endings'][gender] if stem else self.german['invariable'][color]} {noun}"

    def scenes(self, rng: random.Random, held_out: bool = False) -> list[Picture]:
        """Draw the scenes of a video: pictures of one size with one thing each, no two alike after each other."""
        size = picture_size(rng)
        scenes: list[Picture] = []
        for _ in range(rng.randint(2, 3)):
            while True:
                word = self.word(rng, held_out) if rng.random() < 0.4 else ""
                # Longer words may not fit into the narrowest pictures.
                scene = draw(rng, [word], 0, size=size) if 0 < len(word) <= 4 else draw(rng, [], 1, size=size)
                if not scenes or describe(scene) != describe(scenes[-1]):
                    break
            scenes.append(scene)
        return scenes

    def watch(self, rng: random.Random, scenes: list[Picture], times: list[float], task: str | None = None) -> Look:
        """Draw a question about a video, whose scenes begin at these times; the last time is the end."""
        task = task or rng.choice(["watch", "watch", "events", "find"])
        shown = [describe(scene) for scene in scenes]
        spans = list(zip(times, times[1:], shown))
        question = rng.choice(self.ask[task])
        if task == "watch":
            first, *others = [text[:1].lower() + text[1:-1] for text in shown]
            text = ", then ".join([first, *others])
            return Look(task, question, text[0].upper() + text[1:] + ".")
        if task == "find":
            wanted = rng.choice(shown)
            spans = [span for span in spans if span[2] == wanted]
            question = question.replace("{query}", plain(wanted).rstrip("."))
        return Look(task, question, _events_json(spans))

    def pair(self, rng: random.Random, pictures: list[Picture], task: str | None = None) -> Look:
        """Draw a question about two pictures."""
        task = task or rng.choice(["describe_nth", "describe_nth", "more"])
        if task == "more":
            first, second = (len(picture.shapes) for picture in pictures)
            answer = "Both show the same number." if first == second else f"The {'first' if first > second else 'second'}."
            return Look(task, rng.choice(self.ask["more"]), answer)
        nth = rng.randrange(2)
        question = rng.choice(self.ask[task]).replace("{nth}", ("first", "second")[nth])
        return Look(task, question, describe(pictures[nth]))

    def _tasks(self, picture: Picture) -> dict[str, tuple[float, Callable[[random.Random], tuple[str, str] | None]]]:
        """Return the tasks that fit a picture, with their weights."""
        shapes, words = picture.shapes, picture.words
        names = Counter(shape.name for shape in shapes)
        kinds = Counter(shape.kind for shape in shapes)
        colors = Counter(shape.color for shape in shapes)

        def asked(task: str, **slots: str) -> Callable[[random.Random], str]:
            return lambda rng: self._fill(rng.choice(self.ask[task]), slots)

        def any_thing(rng: random.Random, known: float) -> tuple[str, str]:
            if shapes and rng.random() < known:
                shape = rng.choice(shapes)
                # Half of the time one attribute differs.
                if rng.random() < 0.25:
                    return rng.choice(list(COLORS)), shape.kind
                return shape.color, shape.kind
            return rng.choice(list(COLORS)), rng.choice(KINDS)

        def count_kind(rng: random.Random) -> tuple[str, str]:
            kind = any_thing(rng, 0.8)[1]
            return asked("count_kind", kind=kind)(rng), str(kinds[kind])

        def count_color(rng: random.Random) -> tuple[str, str]:
            color = any_thing(rng, 0.8)[0]
            return asked("count_color", color=color)(rng), str(colors[color])

        def count_thing(rng: random.Random) -> tuple[str, str]:
            thing = " ".join(any_thing(rng, 0.85))
            return asked("count_thing", thing=thing)(rng), str(names[thing])

        def exists(rng: random.Random) -> tuple[str, str]:
            thing = " ".join(any_thing(rng, 0.7))
            return asked("exists", thing=thing)(rng), "Yes." if names[thing] else "No."

        def color_of(rng: random.Random) -> tuple[str, str] | None:
            single = [shape for shape in shapes if kinds[shape.kind] == 1]
            if not single:
                return None
            shape = rng.choice(single)
            return asked("color_of", kind=shape.kind)(rng), f"{shape.color.capitalize()}."

        def kind_of(rng: random.Random) -> tuple[str, str] | None:
            single = [shape for shape in shapes if colors[shape.color] == 1]
            if not single:
                return None
            shape = rng.choice(single)
            return asked("kind_of", color=shape.color)(rng), f"A {shape.kind}."

        def unique(rng: random.Random) -> Shape | None:
            single = [shape for shape in shapes if names[shape.name] == 1]
            return rng.choice(single) if single else None

        def compare(rng: random.Random) -> tuple[str, str] | None:
            single = [shape for shape in shapes if names[shape.name] == 1]
            if len(single) < 2:
                return None
            one, other = rng.sample(single, 2)
            side = rng.choice(["left", "right", "above", "below"])
            axis = 0 if side in ("left", "right") else 1
            distance = middle(one.box)[axis] - middle(other.box)[axis]
            if abs(distance) < 0.1 * picture.image.size[axis]:
                return None
            question = self._fill(rng.choice(self.ask[side]), {"thing": one.name, "other": other.name})
            return question, "Yes." if (distance < 0) == (side in ("left", "above")) else "No."

        def where(rng: random.Random) -> tuple[str, str] | None:
            shape = unique(rng)
            place = shape and _ninth(shape.box, picture)
            return (asked("where", thing=shape.name)(rng), place) if place else None

        def boxes(rng: random.Random) -> tuple[str, str]:
            question = rng.choice(self.ask["boxes"])
            wanted = set(KINDS)
            if "{list}" in question:
                wanted = {any_thing(rng, 0.85)[1] for _ in range(rng.randint(1, 3))}
            listed = ", ".join(kind for kind in rng.sample(KINDS, len(KINDS)) if kind in wanted)
            return question.replace("{list}", listed), boxes_json(picture, [s for s in shapes if s.kind in wanted])

        def box(rng: random.Random) -> tuple[str, str]:
            thing = " ".join(any_thing(rng, 0.95))
            found = [shape for shape in shapes if shape.name == thing]
            return asked("box", thing=thing)(rng), boxes_json(picture, found)

        def point(rng: random.Random) -> tuple[str, str]:
            shape = rng.choice(shapes)
            found = [s for s in shapes if s.name == shape.name]
            points = [{"point_2d": relative((*middle(s.box), 0, 0), picture)[:2], "label": s.name} for s in found]
            return asked("point", thing=shape.name)(rng), json.dumps(points)

        def read(rng: random.Random) -> tuple[str, str]:
            text = "\n".join(spelled(word.text) for word in words) or self.answers["no_text"]
            return asked("read")(rng), text

        def spot(rng: random.Random) -> tuple[str, str]:
            found = [{"bbox_2d": relative(word.box, picture), "text_content": spelled(word.text)} for word in words]
            return asked("spot")(rng), _json(found)

        def form(rng: random.Random) -> tuple[str, str] | None:
            keys = rng.sample(["text", "word", "title", "name", "label", "first", "second", "top"], len(words))
            empty = json.dumps(dict.fromkeys(keys, ""))
            filled = _json({key: spelled(word.text) for key, word in zip(keys, words)})
            return asked("form")(rng).replace("{form}", empty), filled

        def recognize(rng: random.Random) -> tuple[str, str]:
            found = [{"bbox_2d": relative(s.box, picture), "label": s.name, "name": self.german_name(s.name)} for s in shapes]
            return asked("recognize")(rng), json.dumps(found, ensure_ascii=False)

        def html(rng: random.Random) -> tuple[str, str]:
            lines = [
                f'<p data-bbox="{" ".join(map(str, relative(word.box, picture)))}">{spelled(word.text)}</p>' for word in words
            ]
            return asked("html")(rng), "\n".join(["```html", "<html><body>", *lines, "</body></html>", "```"])

        tasks: dict[str, tuple[float, Callable]] = {
            "describe": (4, lambda rng: (asked("describe")(rng), describe(picture))),
            "count_all": (0.7, lambda rng: (asked("count_all")(rng), str(len(shapes)))),
            "boxes": (3 if shapes else 0.1, boxes),
        }
        if words:
            markdown = "\n\n".join(spelled(word.text) for word in words)
            tasks |= {
                "read": (5, read), "spot": (2.5, spot), "html": (0.4, html),
                "form": (0.4, form), "markdown": (0.2, lambda rng: (asked("markdown")(rng), markdown)),
            }  # fmt: skip
        else:
            tasks["read"] = (0.25, read)
        if shapes:
            tasks |= {
                "count_kind": (0.5, count_kind), "count_color": (0.5, count_color), "count_thing": (0.5, count_thing),
                "exists": (0.6, exists), "color_of": (0.7, color_of), "kind_of": (0.7, kind_of),
                "where": (0.4, where), "box": (2, box), "point": (1, point), "recognize": (0.7, recognize),
            }  # fmt: skip
        return tasks

    def _fill(self, question: str, slots: dict[str, str]) -> str:
        for slot, value in slots.items():
            if value[0] in "aeiou":
                question = question.replace(f" a {{{slot}}}", f" an {{{slot}}}")
            question = question.replace(f"{{{slot}}}", value).replace(f"{{{slot}s}}", value + "s")
        return question


def _events_json(spans: list[tuple[float, float, str]]) -> str:
    """Return events in the format of Qwen3-VL."""
    return _json([{"start_time": _clock(start), "end_time": _clock(end), "description": what} for start, end, what in spans])


def _json(value: object) -> str:
    """Return JSON in which the marks of `spelled` stay as they are."""
    return json.dumps(value).replace("\\u0001", "\x01").replace("\\u0002", "\x02")


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60):02}:{seconds % 60:05.2f}"


def _ninth(box: Box, picture: Picture) -> str | None:
    """Return in which ninth of the picture a box's middle is, or `None` near a border of ninths."""
    parts = [3 * value / side for value, side in zip(middle(box), picture.image.size)]
    if any(min(abs(part - 1), abs(part - 2)) < 0.15 for part in parts):
        return None
    column, row = ("left", "", "right")[int(parts[0])], ("top", "", "bottom")[int(parts[1])]
    return f"At the {f'{row} {column}'.strip()}." if row or column else "In the middle."
