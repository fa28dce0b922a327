#!/usr/bin/env python3
"""Measure the built-in skills with the demo model on held-out pictures, over HTTP or by the command line.

    python scripts/models/demo/evaluate_skills.py --url http://127.0.0.1:8000 --key KEY
    python scripts/models/demo/evaluate_skills.py --url http://127.0.0.1:8000 --key KEY --cli target/release/qwen-queue
    python scripts/models/demo/evaluate_skills.py --url … --key … --save docs/images/skills   # and keep one drawing of each

Prints for each skill the share of right answers. Text must be exact. Boxes and points are those in pixels of the picture
that was sent: the labels must be exact, a box must share at least half with the true one (intersection over union), and a
point or a click must be within the shape's box.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluate_vision import STEP, data_url, iou
from looking import Looking, describe, plain
from pictures import Picture

# What a result must be: one of the keys of `JUDGES` with what it takes. Written as JSON for the tests of the service.
Expected = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """One use of a skill, and the right result."""

    skill: str
    pictures: list[Picture]
    expected: Expected
    fields: dict[str, str] = field(default_factory=dict)
    prompt: str | None = None
    is_video: bool = False


def probes(looking: Looking, rng: random.Random) -> Iterator[tuple[str, Probe]]:
    """Draw one probe of each skill and level."""
    page = looking.picture(rng, held_out=True, form="words")
    texts = [word.text for word in page.words]
    read = [{"text": word.text, "box": list(word.box)} for word in page.words]
    yield "ocr, page", Probe("ocr", [page], {"result": "\n".join(texts)}, {"level": "page"})
    for level in ("line", "word"):
        yield f"ocr, {level}", Probe("ocr", [page], {"texts": read}, {"level": level})
    form = dict(zip(["first", "second", "top"], texts))
    empty = json.dumps(dict.fromkeys(form, ""))
    yield "ocr, form", Probe("ocr", [page], {"structured": form}, {"level": "form", "form": empty})
    yield "document, html", Probe("document", [page], {"elements": read})
    markdown = {"result": "\n\n".join(texts)}
    yield "document, markdown", Probe("document", [page], markdown, {"format": "markdown"})

    scene = looking.picture(rng, held_out=True, form="shapes")
    while len({shape.name for shape in scene.shapes}) < len(scene.shapes):
        scene = looking.picture(rng, held_out=True, form="shapes")
    found = [{"label": shape.name, "box": list(shape.box)} for shape in scene.shapes]
    named = [item | {"name": looking.german_name(item["label"])} for item in found]
    yield "describe", Probe("describe", [scene], {"result": describe(scene)})
    german = {"category": rng.choice(["objects", "shapes"]), "language": "German"}
    yield "recognize", Probe("recognize", [scene], {"boxes": named}, german)
    kinds = list(dict.fromkeys(shape.kind for shape in scene.shapes))
    yield "spatial, box", Probe("spatial", [scene], {"boxes": found}, {"objects": ", ".join(kinds)})
    wanted = rng.choice(found)
    fields = {"objects": wanted["label"], "shape": "point"}
    yield "spatial, point", Probe("spatial", [scene], {"points": [wanted]}, fields)

    scenes = looking.scenes(rng, held_out=True)
    times = [2 * STEP * index for index in range(len(scenes) + 1)]
    told = {"result": plain(looking.watch(rng, scenes, times, "watch").answer)}
    yield "video, describe", Probe("video", scenes, told, is_video=True)
    shown = [plain(describe(scene)) for scene in scenes]
    events = [list(event) for event in zip(times, times[1:], shown)]
    yield "video, events", Probe("video", scenes, {"events": events}, {"task": "events"}, is_video=True)
    query = rng.choice(shown)
    same = {"events": [event for event in events if event[2] == query]}
    yield "video, find", Probe("video", scenes, same, {"task": "find"}, query.rstrip("."), is_video=True)

    target = rng.choice(found)
    for skill, action, words in (("computer", "left_click", "Click on the"), ("mobile", "click", "Tap the")):
        expected = {"action": {"action": action, "box": target["box"]}}
        yield skill, Probe(skill, [scene], expected, prompt=f"{words} {target['label']}")
    kind = rng.choice(kinds)
    count = {"result": str(sum(shape.kind == kind for shape in scene.shapes))}
    yield "chat", Probe("chat", [scene], count, prompt=f"How many {kind}s are there?")


def _are_boxes(found: list[dict], true: list[dict], key: str) -> bool:
    """Whether boxes are those of the truth in order, with their labels and names."""
    return len(found) == len(true) and all(
        item[key] == truth.get("label", truth.get("text"))
        and item.get("name") == truth.get("name")
        and iou(item["pixels"]["box"], truth["box"]) >= 0.5
        for item, truth in zip(found, true)
    )


def _is_within(point: list[float], box: list[float]) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _are_points(found: list[dict], true: list[dict]) -> bool:
    return len(found) == len(true) and all(
        item["label"] == truth["label"] and _is_within(item["pixels"]["point"], truth["box"])
        for item, truth in zip(found, true)
    )


def _is_action(found: list[dict], true: dict) -> bool:
    [call] = found
    return call["arguments"]["action"] == true["action"] and _is_within(call["pixels"]["coordinate"], true["box"])


JUDGES: dict[str, Callable[[dict, Any], bool]] = {
    "result": lambda result, true: result["result"].strip() == true,
    "structured": lambda result, true: result["structured"] == true,
    "texts": lambda result, true: _are_boxes(result["structured"], true, "text_content"),
    "elements": lambda result, true: _are_boxes(result["structured"]["elements"], true, "text"),
    "boxes": lambda result, true: _are_boxes(result["structured"], true, "label"),
    "points": lambda result, true: _are_points(result["structured"], true),
    "events": lambda result, true: [[e["start_s"], e["end_s"], e["description"]] for e in result["structured"]] == true,
    "action": lambda result, true: _is_action(result["structured"], true),
}


def judge(probe: Probe, result: dict[str, Any]) -> bool:
    try:
        return all(JUDGES[kind](result, true) for kind, true in probe.expected.items())
    except (KeyError, TypeError, ValueError):
        return False


class Http:
    """Runs skills over HTTP."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url, self.headers = url, {"X-API-Key": key} if key else {}

    def run(self, probe: Probe) -> dict[str, Any]:
        body: dict[str, Any] = {"videos" if probe.is_video else "images": _urls(probe)}
        body |= {key: json.loads(value) if key == "form" else value for key, value in probe.fields.items()}
        if probe.prompt is not None:
            body["prompt"] = probe.prompt
        headers = self.headers | {"Content-Type": "application/json", "Prefer": "wait=60"}
        request = urllib.request.Request(f"{self.url}/api/v1/skills/{probe.skill}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)

    def drawing(self, result: dict[str, Any]) -> bytes:
        request = urllib.request.Request(self.url + result["annotated_image"], headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read()


class CommandLine:
    """Runs skills by `qwen-queue skill run`."""

    def __init__(self, binary: Path, url: str, key: str | None) -> None:
        self.binary, self.server = binary, ["--url", url, *(["--api-key", key] if key else [])]

    def run(self, probe: Probe) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            files = []
            if probe.is_video:
                path = Path(folder) / "video.png"
                path.write_bytes(base64.b64decode(_urls(probe)[0].partition(",")[2]))
                files = ["--video", str(path)]
            else:
                for number, picture in enumerate(probe.pictures):
                    picture.image.save(Path(folder) / f"{number}.png")
                    files += ["--image", str(Path(folder) / f"{number}.png")]
            fields = [part for key, value in probe.fields.items() for part in ("--set", f"{key}={value}")]
            prompt = [] if probe.prompt is None else [probe.prompt]
            command = [str(self.binary), "skill", "run", probe.skill, "--json", *self.server, *files, *fields, *prompt]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(done.stdout)


def _urls(probe: Probe) -> list[str]:
    images = [picture.image for picture in probe.pictures]
    if not probe.is_video:
        return [data_url(image) for image in images]
    frames = [image for image in images for _ in range(2)]
    return [data_url(frames[0], save_all=True, append_images=frames[1:], duration=1000 * STEP)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--url", help="address of a gateway whose worker has the demo model")
    parser.add_argument("--key", help="API key")
    parser.add_argument("--cli", type=Path, help="run the skills by this binary instead of over HTTP")
    parser.add_argument("--cases", type=int, default=40, help="questions of each skill and level")
    parser.add_argument("--misses", type=int, default=0, help="wrong results of each to print")
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--write", type=Path, help="only write the first cases and their pictures, for the tests of the service")
    parser.add_argument("--save", type=Path, help="folder for one picture of each skill that draws")
    args = parser.parse_args()

    looking = Looking()
    asked: dict[str, list[Probe]] = {}
    for number in range(args.cases):
        for name, probe in probes(looking, random.Random(f"skills/{number}")):
            asked.setdefault(name, []).append(probe)
    if args.write:
        write(args.write, asked, args.cases)
        return
    if not args.url:
        parser.error("--url or --write is needed")
    url = args.url.rstrip("/")
    http = Http(url, args.key)
    runner = CommandLine(args.cli, url, args.key) if args.cli else http
    with ThreadPoolExecutor(args.at_once) as pool:
        for name, of_skill in asked.items():
            results = list(pool.map(runner.run, of_skill))
            verdicts = [judge(probe, result) for probe, result in zip(of_skill, results)]
            print(f"{name:>20}: {sum(verdicts)}/{len(verdicts)} = {sum(verdicts) / len(verdicts):.1%}", flush=True)
            wrong = [(probe, result) for probe, result, right in zip(of_skill, results, verdicts) if not right]
            for probe, result in wrong[: args.misses]:
                print(f"    {describe(probe.pictures[0])!r} {result['result']!r} {result.get('warnings')}")
            drawn = [r for r, right in zip(results, verdicts) if right and r.get("annotated_image")]
            if args.save and drawn:
                args.save.mkdir(parents=True, exist_ok=True)
                (args.save / f"{name.replace(', ', '-')}.png").write_bytes(http.drawing(drawn[0]))


def write(folder: Path, asked: dict[str, list[Probe]], count: int) -> None:
    """Write the first probes of each skill, with their pictures, as `skills.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    cases, files = [], {}
    for name, of_skill in asked.items():
        for probe in of_skill[:count]:
            data = base64.b64decode(_urls(probe)[0].partition(",")[2])
            if data not in files:
                files[data] = f"{'video' if probe.is_video else 'picture'}-{len(files)}.png"
                (folder / files[data]).write_bytes(data)
            case = {"name": name, "skill": probe.skill, "file": files[data], "fields": probe.fields, "prompt": probe.prompt}
            cases.append(case | {"expected": probe.expected})
    (folder / "skills.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
