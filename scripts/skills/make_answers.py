#!/usr/bin/env python3
"""Writes crates/skills/tests/answers/*.jsonl: answers of models, whole and broken, with what the parsers must make of
them. Needs Python 3.9 alone.

    scripts/skills/make_answers.py
"""

from pathlib import Path

import documents
import objects
import others
from answers import write

FOLDER = Path(__file__).parents[2] / "crates/skills/tests/answers"
FILES = {
    "boxes": [objects.of_boxes, objects.by_hand_boxes],
    "points": [objects.of_points, objects.by_hand_points],
    "html": [documents.of_html],
    "markdown": [documents.of_markdown],
    "events": [others.of_events],
    "actions": [others.of_actions],
    "json": [others.of_json],
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, makers in FILES.items():
    write(FOLDER / f"{name}.jsonl", [record for maker in makers for record in maker()])
