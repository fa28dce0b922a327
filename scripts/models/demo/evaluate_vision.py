#!/usr/bin/env python3
"""Measure what the demo model sees, on pictures with sets of shapes and words that it was not trained on.

    python scripts/models/demo/evaluate_vision.py --url http://127.0.0.1:8080          # through the queue
    python scripts/models/demo/evaluate_vision.py --checkpoint runs/vl/checkpoint.pt   # with transformers
    python scripts/models/demo/evaluate_vision.py --files demo.gguf mmproj-demo.gguf   # with transformers

Prints the share of exact answers for each task and, for boxes, the mean intersection over union: each true box with
the best box of its label, divided by the larger number of boxes.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import re
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
sys.path.insert(0, str(Path(__file__).parents[1]))

from PIL import Image  # noqa: E402

from acting import Acting  # noqa: E402
from looking import Case, Looking, plain  # noqa: E402

# The tasks, the form of their pictures, and how many questions of each are asked, in hundredths of `--cases`.
TASKS = {
    "describe": ("shapes", 100), "describe words": ("both", 30), "boxes": ("shapes", 50), "box": ("shapes", 30),
    "read": ("words", 100), "spot": ("words", 30), "point": ("shapes", 15), "count_all": ("shapes", 15),
    "count_kind": ("shapes", 15), "count_color": ("shapes", 15), "count_thing": ("shapes", 15), "exists": ("shapes", 15),
    "color_of": ("shapes", 15), "kind_of": ("shapes", 15), "where": ("shapes", 15),
    "html": ("words", 15), "markdown": ("words", 15), "act": ("shapes", 15), "form": ("words", 15), "recognize": ("shapes", 30),
    "watch": ("video", 15), "events": ("video", 15), "find": ("video", 15), "describe_nth": ("pair", 15), "more": ("pair", 15),
}  # fmt: skip

Asker = Callable[[Case], str]
# Seconds between the frames of videos: the rate at which Qwen3-VL takes them.
STEP = 0.5


def cases(task: str, count: int) -> list[Case]:
    """Return held-out questions of a task, always the same."""
    looking, acting = Looking(), Acting()
    form, _ = TASKS[task]
    result: list[Case] = []
    number = 0
    while len(result) < count:
        rng = random.Random(f"held out/{task}/{number}")
        number += 1
        if form == "pair":
            pictures = [looking.picture(rng, 0.7, held_out=True) for _ in range(2)]
            result.append(Case(tuple(pictures), looking.pair(rng, pictures, task)))
            continue
        if form == "video":
            scenes = looking.scenes(rng, held_out=True)
            times = [2 * STEP * index for index in range(len(scenes) + 1)]
            result.append(Case(tuple(scenes), looking.watch(rng, scenes, times, task), STEP))
            continue
        picture = looking.picture(rng, held_out=True, form=form)
        kind = task.split()[0]
        look = acting.look(rng, picture) if kind == "act" else looking.look(rng, picture, kind)
        if look is not None and look.task == kind:
            result.append(Case((picture,), look))
    return result


def overlap(truth: str, answer: str) -> float | None:
    """Return the mean intersection over union of boxes; `None` if the truth has no boxes."""
    true = boxes(truth)
    if not true:
        return None
    found = boxes(answer)
    total = 0.0
    for label, box in true:
        fits = [(iou(box, other), i) for i, (name, other) in enumerate(found) if name == label]
        if fits:
            best, index = max(fits)
            total += best
            del found[index]
    return total / max(len(true), len(boxes(answer)))


def boxes(answer: str) -> list[tuple[str, list[float]]]:
    try:
        items = json.loads(answer)
        return [(item.get("label") or item["text_content"], [float(v) for v in item["bbox_2d"]]) for item in items]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / both if both > 0 else 0.0


def is_right(task: str, truth: str, answer: str) -> bool:
    """Whether an answer is right: exact, but for coordinates, which may be 30 thousandths of a side off."""
    if not re.search("_2d|data-bbox|coordinate", truth):
        return truth == answer
    number = re.compile(r"\b\d+")
    true, found = ([int(v) for v in number.findall(text)] for text in (truth, answer))
    return number.sub("", truth) == number.sub("", answer) and all(abs(a - b) <= 30 for a, b in zip(true, found))


def over_http(url: str, key: str | None, model: str) -> Asker:
    def ask(case: Case) -> str:
        images = [picture.image for picture in case.pictures]
        if case.step is not None:
            frames = [image for image in images for _ in range(2)]
            url = data_url(frames[0], save_all=True, append_images=frames[1:], duration=1000 * case.step)
            shown = [{"type": "video_url", "video_url": {"url": url}}]
        else:
            shown = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in images]
        messages: list[dict] = [{"role": "user", "content": [*shown, {"type": "text", "text": case.look.question}]}]
        if case.look.system is not None:
            messages.insert(0, {"role": "system", "content": case.look.system})
        body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 256}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)["choices"][0]["message"]["content"]

    return ask


def data_url(image: Image.Image, **options: object) -> str:
    """Return an image as a data URL, or a video as an animated PNG."""
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def measure(ask: Asker, scale: int, at_once: int, misses: int, tasks: list[str]) -> dict[str, dict[str, float]]:
    """Ask all questions; print and return the figures of each task."""
    figures: dict[str, dict[str, float]] = {}
    with ThreadPoolExecutor(at_once) as pool:
        for task in tasks:
            asked = cases(task, max(1, scale * TASKS[task][1] // 100))
            answers = pool.map(ask, asked)
            right, overlaps, wrong = 0, [], []
            for case, answer in zip(asked, answers):
                truth = plain(case.look.answer)
                good = is_right(task, truth, answer)
                right += good
                if (shared := overlap(truth, answer)) is not None:
                    overlaps.append(shared)
                if not good:
                    wrong.append((case.look.question, truth, answer))
            figures[task] = {"right": right / len(asked)}
            line = f"{task:>14}: {right}/{len(asked)} = {right / len(asked):.1%}"
            if overlaps:
                figures[task]["iou"] = sum(overlaps) / len(overlaps)
                line += f", mean IoU {figures[task]['iou']:.3f}"
            print(line, flush=True)
            for question, truth, answer in wrong[:misses]:
                print(f"    {question!r}\n      {truth!r}\n      {answer!r}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--url", help="address of a gateway whose worker has the demo model")
    source.add_argument("--checkpoint", type=Path, help="checkpoint.pt of train_vision.py")
    source.add_argument("--files", type=Path, nargs=2, metavar=("TEXT", "PROJECTOR"), help="the two GGUF files")
    parser.add_argument("--key", help="API key for --url")
    parser.add_argument("--model", default="demo", help="name of the model, with --url")
    parser.add_argument("--cases", type=int, default=200, help="questions of the largest tasks")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS, metavar="TASK", help="tasks to measure")
    parser.add_argument("--at-once", type=int, default=4, help="requests at the same time, with --url")
    parser.add_argument("--misses", type=int, default=0, help="wrong answers of each task to print")
    parser.add_argument("--text", action="store_true", help="measure the answers to text, too; not with --url")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    if args.url:
        measure(over_http(args.url.rstrip("/"), args.key, args.model), args.cases, args.at_once, args.misses, args.tasks)
        return
    import torch

    from seeing import Seeing

    torch.set_num_threads(args.threads)
    seeing = Seeing.of_files(*args.files) if args.files else Seeing.of_checkpoint(args.checkpoint)
    measure(seeing.ask, args.cases, 1, args.misses, args.tasks)
    if args.text:
        from corpus import Corpus
        from scoring import evaluate, summary
        from train import render

        print(summary(evaluate(seeing.model, seeing.tokenizer, render, Corpus()), args.misses))


if __name__ == "__main__":
    main()
