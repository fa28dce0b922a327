"""Answers with boxes and points."""

import json

from answers import CUT, SCENES, Scene, WORDS, broken, plain, record, repaired

LABELS = [
    ("cat", "the dog's bowl"),
    ("发票号码", "Total: 12.50"),
    ("person in a red coat", "Fahrrad"),
    ("button {OK}", "menu [more]"),
    ("a, b", "x: y"),
]
PLACES = [((0.1, 0.2, 0.4, 0.5), (0.55, 0.05, 0.9, 0.95)), ((0.0, 0.0, 0.33, 0.1), (0.7, 0.7, 0.71, 0.73))]
UNREADABLE = "coordinates that can't be read"


def boxes(scene, index, key="label"):
    raw = [scene.raw_box(*place) for place in PLACES[index % 2]]
    items = [{"bbox_2d": box, key: label} for box, label in zip(raw, LABELS[index])]
    return items, [dict(item, pixels={"box": scene.box(*item["bbox_2d"])}) for item in items]


def points(scene, index):
    raw = [scene.at(*place[:2]) for place in PLACES[index % 2]]
    items = [{"point_2d": point, "label": label} for point, label in zip(raw, LABELS[index])]
    return items, [dict(item, pixels={"point": scene.point(*item["point_2d"])}) for item in items]


def of_boxes():
    for index, scene in enumerate(SCENES):
        items, expected = boxes(scene, index, "text_content" if index == 1 else "label")
        yield from broken(f"boxes of {scene.family}", scene, items, expected)
    for scene in SCENES:
        yield from forms(scene)
        yield from tags(scene)
        yield from odd(scene)


def one(scene, note, item, pixels, warnings=()):
    expected = dict(item, pixels=pixels) if pixels else item
    return record(f"{note} of {scene.family}", scene, plain([item]), [expected], warnings)


def forms(scene):
    """The ways to write one box."""
    x1, y1, x2, y2 = raw = scene.raw_box(0.25, 0.125, 0.5, 0.75)
    box = {"box": scene.box(*raw)}
    for key in ["bbox", "box", "box_2d", "bounding_box"]:
        yield one(scene, f"key {key}", {key: raw, "label": "a"}, box)
    yield one(scene, "texts of numbers", {"bbox_2d": [str(value) for value in raw], "label": "a"}, box)
    yield one(scene, "text with spaces", {"bbox_2d": f"{x1} {y1} {x2} {y2}", "label": "a"}, box)
    yield one(scene, "text with commas", {"bbox_2d": f"{x1}, {y1}, {x2}, {y2}", "label": "a"}, box)
    yield one(scene, "nested pairs", {"bbox_2d": [[x1, y1], [x2, y2]], "label": "a"}, box)
    yield one(scene, "a box in a list", {"bbox_2d": [raw], "label": "a"}, box)
    yield one(scene, "two boxes", {"bbox_2d": [raw, raw], "label": "a"}, {"boxes": [box["box"]] * 2})
    yield one(scene, "edges by name", {"bbox": dict(zip(["x1", "y1", "x2", "y2"], raw))}, box)
    corners = [x1, y1, x2, y1, x2, y2, x1, y2]
    polygon = [scene.point(*corners[at : at + 2]) for at in range(0, 8, 2)]
    yield one(scene, "quadrilateral", {"bbox_2d": corners, "text_content": "a"}, {"polygon": polygon})
    yield one(scene, "decimals", {"bbox_2d": [x1 + 0.5, y1 + 0.25, x2, y2]}, {"box": scene.box(x1 + 0.5, y1 + 0.25, x2, y2)})
    yield one(scene, "a point", {"point_2d": [x1, y1], "label": "a"}, {"point": scene.point(x1, y1)})
    bare = [{"bbox_2d": raw, "pixels": box}]
    yield record(f"list of lists of {scene.family}", scene, plain([raw]), bare)
    yield record(f"list alone of {scene.family}", scene, plain(raw), bare)
    grouped = [{"bbox_2d": raw, "label": "cat", "pixels": box}, {"bbox_2d": raw, "label": "dog", "pixels": box}]
    yield record(f"lists by label of {scene.family}", scene, plain({"cat": [raw], "dog": [raw]}), grouped)
    tuples = f"[{{'bbox_2d': ({x1}, {y1}, {x2}, {y2}), 'label': 'a'}}]"
    tuple_warning = [repaired("single quotes", "parentheses")]
    yield record(f"tuple of {scene.family}", scene, tuples, [{"bbox_2d": raw, "label": "a", "pixels": box}], tuple_warning)
    unclosed = f'[{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}, "label": "a"}}]'
    yield record(
        f"box without a bracket of {scene.family}", scene, unclosed,
        [{"bbox_2d": raw, "label": "a", "pixels": box}], [repaired("missing brackets")],
    )


def odd(scene):
    """Items that are kept with a warning, and answers with nothing in them."""
    x1, y1, x2, y2 = raw = scene.raw_box(0.2, 0.2, 0.6, 0.4)
    box = {"box": scene.box(*raw)}
    yield one(scene, "swapped", {"bbox_2d": [x2, y2, x1, y1]}, box, ["wrong order"])
    yield one(scene, "swapped rows", {"bbox_2d": [x1, y2, x2, y1]}, box, ["wrong order"])
    beyond = [x1, y1, scene.range(0) + 300, scene.range(1) + 40]
    yield one(scene, "beyond the image", {"bbox_2d": beyond}, {"box": scene.box(*beyond)}, ["beyond the image"])
    yield one(scene, "negative", {"bbox_2d": [-30, y1, x2, y2]}, {"box": scene.box(-30, y1, x2, y2)}, ["beyond the image"])
    edge = [x1, y1, scene.range(0) + 1, scene.range(1)]
    yield one(scene, "a rounding beyond", {"bbox_2d": edge}, {"box": scene.box(*edge)})
    yield one(scene, "extra keys", {"name_en": "A", "name_zh": "甲", "bbox_2d": raw, "confidence": 0.9}, box)
    yield one(scene, "time", {"time": 1.5, "bbox_2d": raw, "label": "a"}, box)
    yield one(scene, "index", {"bbox_2d": raw, "img_idx": 0}, box)
    yield one(scene, "index of no image", {"bbox_2d": raw, "image": 3}, None, ["names an image that the prompt does not have"])
    yield one(scene, "no box", {"label": "a"}, None, ["has no coordinates"])
    yield one(scene, "three numbers", {"bbox_2d": [1, 2, 3], "label": "a"}, None, [UNREADABLE])
    yield one(scene, "words as numbers", {"bbox_2d": ["left", 2, 3, 4]}, None, [UNREADABLE])
    yield one(scene, "box in space", {"bbox_3d": [0.1, 0.2, 3, 1, 1, 1, 0, 0, 0.5], "label": "a"}, None)
    yield record(f"empty list of {scene.family}", scene, "```json\n[]\n```", [])
    for text in ["There are no cats.", "", "```json\n```", "[{", "The image [shown] has none."]:
        cut = {"cut": True} if text == "[{" else {}
        limit = ["limit of tokens"] if cut else []
        yield record(f"nothing of {scene.family}", scene, text, None, [*limit, "no objects were found"], **cut)


def tags(scene):
    """Qwen2-VL's tags, and Qwen-VL's."""
    x1, y1, x2, y2 = raw = scene.raw_box(0.3, 0.1, 0.8, 0.6)
    item = {"bbox_2d": raw, "label": "a cat", "pixels": {"box": scene.box(*raw)}}
    ref, pair = "<|object_ref_start|>a cat<|object_ref_end|>", f"({x1},{y1}),({x2},{y2})"
    tagged = f"{ref}<|box_start|>{pair}<|box_end|>"
    yield record(f"tags of {scene.family}", scene, tagged, [item])
    yield record(f"tags in a sentence of {scene.family}", scene, f"I see {tagged} here.<|im_end|>", [item])
    yield record(f"two boxes in tags of {scene.family}", scene, f"{tagged}<|box_start|>{pair}<|box_end|>", [item, item])
    yield record(f"old tags of {scene.family}", scene, f"<ref>a cat</ref><box>{pair}</box>", [item])
    cut = f"{tagged}{ref}<|box_start|>({x1},{y1}),({x2}"
    yield record(f"tags that are cut of {scene.family}", scene, cut, [item], ["ends within its boxes"])
    if scene.family == "qwen2-vl":
        yield record("tags dropped", scene, f"a cat{pair}", [item])


def of_points():
    for index, scene in enumerate(SCENES):
        items, expected = points(scene, index)
        yield from broken(f"points of {scene.family}", scene, items, expected)
    for scene in SCENES:
        x, y = raw = scene.at(0.3, 0.6)
        point = {"point": scene.point(*raw)}
        for key in ["point", "points"]:
            yield one(scene, f"key {key}", {key: raw, "label": "a"}, point)
        yield one(scene, "text", {"point_2d": f"{x}, {y}", "label": "a"}, point)
        yield one(scene, "texts", {"point_2d": [str(x), str(y)]}, point)
        yield one(scene, "by name", {"point": {"x": x, "y": y}}, point)
        yield one(scene, "nested", {"point_2d": [raw]}, point)
        yield one(scene, "several", {"points": [raw, [0, 0]]}, {"points": [point["point"], [0, 0]]})
        box = scene.raw_box(0.1, 0.1, 0.2, 0.3)
        yield one(scene, "a box", {"bbox_2d": box, "label": "a"}, {"box": scene.box(*box)})
        yield one(scene, "four numbers", {"point_2d": box}, {"box": scene.box(*box)})
        yield one(scene, "both", {"bbox_2d": box, "point_2d": raw}, {"box": scene.box(*box), **point})
        far = [scene.range(0) * 2, y]
        yield one(scene, "beyond the image", {"point_2d": far}, {"point": scene.point(*far)}, ["beyond the image"])
        yield one(scene, "one number", {"point_2d": [x]}, None, [UNREADABLE])
        yield record(f"list alone of {scene.family}", scene, plain(raw), [{"point_2d": raw, "pixels": point}])
        yield record(f"list of lists of {scene.family}", scene, plain([raw, raw]), [{"point_2d": raw, "pixels": point}] * 2)
        yield record(f"nothing of {scene.family}", scene, "I can't see it.", None, ["no objects were found"])
        tag = f"<|object_ref_start|>a<|object_ref_end|><|box_start|>({x},{y})<|box_end|>"
        yield record(f"tags of {scene.family}", scene, tag, [{"point_2d": raw, "label": "a", "pixels": point}])


def by_hand_boxes():
    """Answers whose pixels were computed by hand."""
    two = Scene("qwen2-vl", (500, 400), (504, 392))
    half = Scene("qwen2.5-vl", (1600, 1200), (800, 600))
    three = Scene("qwen3-vl", (2000, 500), (1984, 512))
    screen = Scene("qwen3-vl", (1998, 999), (1984, 992), 999)
    cat = '[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]'
    item = {"bbox_2d": [100, 200, 300, 400], "label": "cat"}
    for scene, box in [(two, [50, 80, 150, 160]), (half, [200, 400, 600, 800]), (three, [200, 100, 600, 200]), (screen, [200, 200, 600, 400])]:
        yield record("by hand", scene, cat, [dict(item, pixels={"box": box})])
    quoted = '[{"bbox_2d": [0, 0, 10, 10], "label": "He said "hi" to me"}]'
    expected = [{"bbox_2d": [0, 0, 10, 10], "label": 'He said "hi" to me', "pixels": {"box": [0, 0, 20, 5]}}]
    yield record("by hand: quotes in a text", three, quoted, expected, [repaired("quotes inside strings")])
    latex = r'[{"bbox_2d": [0, 0, 10, 10], "text_content": "\(x \in A\)"}]'
    expected = [{"bbox_2d": [0, 0, 10, 10], "text_content": r"\(x \in A\)", "pixels": {"box": [0, 0, 20, 5]}}]
    yield record("by hand: LaTeX", three, latex, expected, [repaired("unknown escapes in strings")])
    broken_line = '[{"bbox_2d": [0, 0, 10, 10], "text_content": "a\nb"}]'
    expected = [{"bbox_2d": [0, 0, 10, 10], "text_content": "a\nb", "pixels": {"box": [0, 0, 20, 5]}}]
    yield record("by hand: line break", three, broken_line, expected, [repaired("line breaks inside strings")])
    apostrophe = "[{'bbox_2d': [0, 0, 10, 10], 'text_content': 'it's'}]"
    expected = [{"bbox_2d": [0, 0, 10, 10], "text_content": "it's", "pixels": {"box": [0, 0, 20, 5]}}]
    yield record("by hand: apostrophe", three, apostrophe, expected, [repaired("single quotes", "quotes inside strings")])
    mixed = "```json\n[\n{bbox_2d: [10., 20, 30, 40,], label: 'a', }\n"
    expected = [{"bbox_2d": [10, 20, 30, 40], "label": "a", "pixels": {"box": [20, 10, 60, 20]}}]
    kinds = ("keys without quotes", "numbers that are not JSON's", "trailing commas", "single quotes", "missing brackets")
    yield record("by hand: all at once", three, mixed, expected, [repaired(*kinds)])
    no_comma = '[{"bbox_2d": [10 20 30 40] "label": "a"}]'
    yield record("by hand: no commas", three, no_comma, expected, [repaired("missing commas")])
    half_item = '[{"bbox_2d": [10, 20, 30, 40], "label": "a"}, {"bbox_2d": [50, 60, 70, 80], "la'
    yield record("by hand: cut", three, half_item, expected, ["limit of tokens", CUT], cut=True)
    number = '[{"bbox_2d": [10, 20, 30, 40], "label": "a"}, {"bbox_2d": [50, 60, 70, 8'
    yield record("by hand: cut in a number", three, number, expected, [CUT])
    words = 'Sure:\n[{"bbox_2d": [10, 20, 30, 40], "label": "a"}]\nDone (1).'
    yield record("by hand: words", three, words, expected, [WORDS])
    inner = {"bbox_2d": [10, 20, 30, 40], "label": "a", "pixels": {"box": [20, 10, 60, 20]}}
    raw = {"bbox_2d": [10, 20, 30, 40], "label": "a"}
    sized = plain({"image_size": [2000, 500], "boxes": [raw]})
    yield record("by hand: a list and a size", three, sized, [inner])
    plant = {"name_en": "Rose", "years": [1990, 2000]}
    yield record("by hand: no box, but numbers", three, plain(plant), [plant], ["has no coordinates"])
    line = {"bbox_2d": [10, 20, 30, 40], "text_content": "a b", "words": [{"bbox_2d": [10, 20, 20, 40], "text_content": "a"}]}
    yield record("by hand: words in a line", three, plain(line), [{**line, "pixels": {"box": [20, 10, 60, 20]}}])
    many = {"boxes": [[10, 20, 30, 40], [10, 20, 30, 40]]}
    yield record("by hand: boxes alone", three, plain(many), [{**many, "pixels": {"boxes": [[20, 10, 60, 20]] * 2}}])
    huge = '[{"bbox_2d": [1e999, 20, 30, 40], "label": "a"}]'
    kept = json.loads('[{"bbox_2d": [0, 20, 30, 40], "label": "a"}]')
    kept[0]["bbox_2d"][0] = "1e+999"  # the test compares it as a text
    yield record("by hand: a number that is none", three, huge, kept, [UNREADABLE])
    yield record("by hand: too deep", three, "[" * 300, None, ["nested more than 128", "no objects were found"])


def by_hand_points():
    half = Scene("qwen2.5-vl", (1600, 1200), (800, 600))
    three = Scene("qwen3-vl", (2000, 500), (1984, 512))
    screen = Scene("qwen3-vl", (1998, 999), (1984, 992), 999)
    two = Scene("qwen2-vl", (500, 400), (504, 392))
    for text, raw in [
        ('[{"point_2d": [100, 300], "label": "a"}]', [100, 300]),
        ("```json\n[{'point_2d': [100, 300], 'label': 'a'}]\n```", [100, 300]),
        ('{"point_2d": [100, 300], "label": "a"', [100, 300]),
    ]:
        warnings = {"[": [], "`": [repaired("single quotes")], "{": [repaired("missing brackets")]}[text[0]]
        for scene, point in [(two, [50, 120]), (half, [200, 600]), (three, [200, 150]), (screen, [200, 300])]:
            yield record("by hand", scene, text, [{"point_2d": raw, "label": "a", "pixels": {"point": point}}], warnings)
