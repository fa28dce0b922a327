#!/usr/bin/env python3
"""Write a checkpoint of `train_vision.py` as the two files of the bundled model, demo.gguf and mmproj-demo.gguf.

With the bundled files it writes the questions of the engine's test, whose answers the model was trained with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import gguf_export  # noqa: E402
import projector_export  # noqa: E402
import vision_model  # noqa: E402
from corpus import Corpus  # noqa: E402
from seeing import Seeing  # noqa: E402
from train import QUESTIONS, ROOT, WEIGHT_TYPE, write_questions  # noqa: E402
from vision_data import MAX_PIXELS, MIN_PIXELS  # noqa: E402

ASSETS = ROOT / "crates/engine/assets"
ABOUT = dict(name="qwen-queue demo", license="MIT OR Apache-2.0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--output", type=Path, default=ASSETS, help="folder of the files")
    args = parser.parse_args()

    seeing = Seeing.of_checkpoint(args.checkpoint, stored=False)
    args.output.mkdir(parents=True, exist_ok=True)
    text, projector = args.output / "demo.gguf", args.output / "mmproj-demo.gguf"
    gguf_export.export(
        seeing.model, seeing.tokenizer, text, weight_type=WEIGHT_TYPE, chat_template=vision_model.VISION_TEMPLATE, **ABOUT
    )
    projector_export.export_projector(
        seeing.model.model.visual, projector, weight_type=WEIGHT_TYPE, pixels=(MIN_PIXELS, MAX_PIXELS), **ABOUT
    )
    if args.output == ASSETS:
        write_questions(QUESTIONS, Corpus())
    for path in (text, projector):
        print(f"wrote {path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
