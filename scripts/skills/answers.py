"""What the generators of recorded answers share: scenes, the mapping of coordinates, and ways to break JSON.

The expectations are computed here, apart from the parsers in Rust.
"""

import json
import re

WORDS = "words outside of the JSON"
CUT = "ends within its JSON"
REPAIRED = "the JSON was repaired: "


class Scene:
    """An image as one family sees it."""

    def __init__(self, family, size, seen, scale=1000):
        self.family, self.size, self.seen, self.scale = family, size, seen, scale

    def range(self, axis):
        if self.family == "qwen2.5-vl":
            return self.seen[axis]
        return 1000 if self.family == "qwen2-vl" else self.scale

    def pixel(self, value, axis):
        value = value * self.size[axis] / self.range(axis)
        return round(min(max(value, 0.0), float(self.size[axis])), 2)

    def point(self, x, y):
        return [self.pixel(x, 0), self.pixel(y, 1)]

    def box(self, x1, y1, x2, y2):
        (x1, y1), (x2, y2) = self.point(x1, y1), self.point(x2, y2)
        return [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]

    def at(self, x, y):
        """Returns the model's coordinates of a fraction of the image."""
        return [int(x * self.range(0)), int(y * self.range(1))]

    def raw_box(self, x1, y1, x2, y2):
        return self.at(x1, y1) + self.at(x2, y2)


SCENES = [
    Scene("qwen2-vl", (640, 480), (644, 476)),
    Scene("qwen2.5-vl", (3000, 4000), (1932, 2576)),
    Scene("qwen3-vl", (1280, 720), (1280, 704)),
    Scene("qwen3-vl", (1080, 2400), (1088, 2400), 999),
    Scene("qwen3-vl", (997, 613), (992, 608)),  # Qwen3.5, which writes as Qwen3-VL does
]


def record(note, scene, text, structured, warnings=(), **more):
    record = {"note": note, "family": scene.family, "size": scene.size, "seen": scene.seen}
    if scene.scale != 1000:
        record["scale"] = scene.scale
    record.update(more)
    record.update(text=text, structured=structured, warnings=list(warnings))
    return record


def write(path, records):
    with open(path, "w", encoding="utf-8") as file:
        for one in records:
            file.write(json.dumps(one, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{path}: {len(records)} answers")


def plain(value):
    return json.dumps(value, ensure_ascii=False)


def repaired(*kinds):
    return REPAIRED + ", ".join(kinds)


def python(value):
    """Returns Python's way to write a value, with single quotes wherever it allows them."""
    return repr(value)


def ways_to_write(items):
    """Yields (name, text, number of items that are read, warnings, is_cut) for a list of two or more objects."""
    n = len(items)
    whole = plain(items)
    lines = ",\n".join("\t" + plain(item) for item in items)
    pretty = f"[\n{lines}\n]"
    last = plain(items[-1])
    head = whole[: -len(last) - 1]  # up to the last object
    yield "fence", f"```json\n{pretty}\n```", n, [], False
    yield "no fence", whole, n, [], False
    yield "fence without a language", f"```\n{whole}\n```", n, [], False
    yield "fence in one line", f"```json {whole} ```", n, [], False
    yield "fence without an end", f"```json\n{pretty}", n, [], False
    yield "fence without a beginning", f"{whole}\n```", n, [], False
    yield "indented", json.dumps(items, indent=4, ensure_ascii=False), n, [], False
    yield "words around", f"Here are the objects:\n```json\n{whole}\n```\nI hope this helps.", n, [WORDS], False
    yield "words around, no fence", f"Sure! The objects are {whole} as you asked.", n, [WORDS], False
    yield "brackets in the words", f"The list [of all, see below]: {whole}", n, [WORDS], False
    yield "reasoning", f"<think>\nThere are [some] objects.\n</think>\n\n{whole}", n, [], False
    yield "end of reasoning", f"There are some.\n</think>\n\n```json\n{whole}\n```", n, [], False
    yield "special token", f"{whole}<|im_end|>", n, [], False
    yield "single quotes", python(items), n, [repaired("single quotes")], False
    yield "single quotes, fence", f"```json\n{python(items)}\n```", n, [repaired("single quotes")], False
    literal = "[" + ", ".join(plain(item)[:-1] + ', "a": True, "b": None, "c": False}' for item in items) + "]"
    yield "Python's literals", literal, n, [repaired("Python's literals")], False, {"a": True, "b": None, "c": False}
    yield "trailing comma", whole[:-1] + ",]", n, [repaired("trailing commas")], False
    yield "trailing commas in objects", "[" + ", ".join(plain(item)[:-1] + ",}" for item in items) + "]", n, [repaired("trailing commas")], False
    yield "missing commas", whole.replace("}, {", "} {"), n, [repaired("missing commas")], False
    yield "doubled commas", whole.replace("}, {", "},, {"), n, [repaired("superfluous commas")], False
    yield "missing bracket", whole[:-1], n, [repaired("missing brackets")], False
    yield "missing brackets", whole[:-2], n, [repaired("missing brackets")], False
    yield "missing bracket, fence", f"```json\n{whole[:-1]}\n```", n, [repaired("missing brackets")], False
    yield "cut in the last text", whole[:-4], n - 1, [CUT], True
    yield "cut in the first key", head + last[:4], n - 1, [CUT], True
    yield "cut in the numbers", head + last[: last.index(",") + 2], n - 1, [CUT], True
    yield "cut behind a comma", head, n - 1, [CUT], True
    yield "cut behind a bracket", head + "{", n - 1, [CUT], True
    yield "cut before a value", head + last[: last.index(":") + 1], n - 1, [CUT], True
    yield "cut in a fence", "```json\n" + pretty[: pretty.rindex('"')], n - 1, [CUT], True
    unquoted = re.sub(r'"(\w+)":', r"\1:", whole)
    yield "keys without quotes", unquoted, n, [repaired("keys without quotes")], False
    yield "line comments", pretty.replace("},", "}, // one of them"), n, [repaired("comments")], False
    yield "block comments", whole.replace("{", "{/* an object */ ", 1), n, [repaired("comments")], False
    yield "Python's comments", pretty.replace("[\n", "[  # all\n", 1), n, [repaired("comments")], False
    floats = re.sub(r"(\d+)([,\]])", r"\1.\2", whole.replace("\\", ""), count=1)
    if floats != whole:
        yield "number without decimals", floats, n, [repaired("numbers that are not JSON's")], False
    yield "lists in a row", "\n".join(plain([item]) for item in items), n, [repaired("several values in a row")], False
    yield "objects in a row", "\n".join(map(plain, items)), n, [repaired("several values in a row")], False
    yield "objects with commas in a row", ", ".join(map(plain, items)), n, [repaired("several values in a row")], False
    fences = "\n".join(f"```json\n{plain([item])}\n```" for item in items)
    yield "a fence for each", fences, n, [], False
    yield "JSON in a string", json.dumps(whole, ensure_ascii=False), n, [repaired("escaped JSON")], False
    yield "escaped quotes", whole.replace('"', '\\"'), n, [repaired("escaped JSON")], False
    yield "escaped line breaks", "[\\n" + ",\\n".join(map(plain, items)) + "\\n]", n, [repaired("line breaks as escapes")], False
    yield "ellipsis", whole[:-1] + ", ...]", n, [repaired("ellipses")], False
    yield "wrong bracket", whole[:-1] + ")", n, [repaired("wrong brackets")], False
    yield "superfluous bracket", whole + "]", n, [repaired("brackets without a beginning")], False
    yield "equals signs", re.sub(r'"(\w+)":', r'"\1" =', whole), n, [repaired("signs in the place of colons")], False
    yield "missing bracket of an object", whole.replace("}, {", ", {", 1), n, [repaired("missing brackets")], False
    yield "wrapped", plain({"objects": items}), n, [], False


def broken(note, scene, items, expected, **more):
    """Returns the records of a list in all ways to write it. `expected` are the items with their pixels."""
    for name, text, count, warnings, is_cut, *added in ways_to_write(items):
        structured = [dict(item) for item in expected[:count]]
        if added:
            for item in structured:
                pixels = item.pop("pixels", None)
                item.update(added[0])
                if pixels is not None:
                    item["pixels"] = pixels
        flags = dict(more)
        if is_cut and len(text) % 2:
            flags["cut"] = True
            warnings = ["limit of tokens", *warnings]
        yield record(f"{note}: {name}", scene, text, structured, warnings, **flags)
