#!/usr/bin/env python3
"""Write the greedy tokens that llama.cpp generates for the models of the fixtures.

They are a second reference besides transformers, from an independent GGUF reader. For every F32 and
F16 model under `crates/engine/tests/fixtures`, with a KV cache in f32 and in f16, llama.cpp's library
continues each of the fixture's prompts by 64 tokens. `llama.json` holds these tokens and the smallest
gap between the best and the second-best logit.

    make_llama_fixtures.py path/to/llama.cpp

The argument is the source folder of llama.cpp, built in its `build` folder (or `--build`). Besides that
it needs only Python and a C compiler. If tokens differ from those of transformers in float32, it prints
the first such step and the gaps. `--check` compares with the existing file and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parents[1] / "crates" / "engine" / "tests" / "fixtures"
OUTPUT = FIXTURES / "llama.json"
GREEDY_TOKENS = 64
KV_TYPES = ("f32", "f16")
WEIGHT_TYPES = ("f32", "f16")


def compiled(sources: Path, build: Path, folder: Path) -> Path:
    """Compile `llama_greedy` against a build of llama.cpp and return its path."""
    libraries = build / "bin"
    if not (libraries / "libllama.so").is_file():
        sys.exit(f"there is no libllama.so in {libraries}: build llama.cpp with BUILD_SHARED_LIBS=ON first")
    program = folder / "llama_greedy"
    command = [
        os.environ.get("CC", "cc"), "-O1", "-Wall", "-o", program, HERE / "llama_greedy.c",
        f"-I{sources / 'include'}", f"-I{sources / 'ggml' / 'include'}",
        f"-L{libraries}", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{libraries}",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return program


def greedy(program: Path, model: Path, kv_type: str, prompts: list[dict]) -> Iterator[dict]:
    """Yield the generated tokens of each prompt and their smallest gap."""
    lines = "".join(" ".join(map(str, prompt["tokens"])) + "\n" for prompt in prompts)
    done = subprocess.run(
        [program, model, kv_type, str(GREEDY_TOKENS)],
        input=lines, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{model.name}: {done.stderr.strip()}")
    for prompt, line in zip(prompts, done.stdout.splitlines(), strict=True):
        *tokens, gap = line.split()
        assert len(tokens) == GREEDY_TOKENS
        yield {
            "name": prompt["name"],
            "greedy": [int(token) for token in tokens],
            "smallest_gap": round(float(gap), 6),
        }


def compare(name: str, theirs: dict, truth: dict) -> str:
    """Return a line that says whether llama.cpp and transformers generated the same tokens."""
    gaps = f"smallest gaps {theirs['smallest_gap']} and {truth['smallest_gap']}"
    pairs = enumerate(zip(theirs["greedy"], truth["greedy"], strict=True))
    step = next((step for step, (a, b) in pairs if a != b), None)
    if step is None:
        return f"{name}: same as transformers, {gaps}"
    return f"{name}: DIFFERS from transformers at step {step}, {gaps}"


def runs(program: Path) -> Iterator[dict]:
    """Yield the results of each model with each type of the KV cache."""
    for path in sorted([*FIXTURES.glob("qwen*/*.json"), *FIXTURES.glob("yarn/*.json")]):
        if not path.stem.endswith(tuple(f"-{kind}" for kind in WEIGHT_TYPES)):
            continue
        fixture = json.loads(path.read_text(encoding="utf-8"))
        for kv_type in KV_TYPES:
            model = path.with_name(fixture["model"])
            found = list(greedy(program, model, kv_type, fixture["prompts"]))
            for theirs, truth in zip(found, fixture["prompts"], strict=True):
                print(compare(f"{path.stem}, kv {kv_type}, {truth['name']}", theirs, truth))
            yield {"fixture": path.stem, "kv_type": kv_type, "prompts": found}


def version(sources: Path) -> str:
    """Return the version of llama.cpp's sources: build-info.txt, else the git tag, else `unknown`."""
    build_info = sources / "build-info.txt"
    if build_info.is_file():
        return build_info.read_text(encoding="utf-8").strip()
    described = subprocess.run(
        ["git", "-C", sources, "describe", "--tags"], capture_output=True, text=True, check=False
    )
    if described.returncode == 0 and re.fullmatch(r"b\d+\S*", described.stdout.strip()):
        return described.stdout.strip()
    return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, help="source folder of llama.cpp")
    parser.add_argument("--build", type=Path, help="build folder (default: `build` in the source folder)")
    parser.add_argument("--version", help="version to record in the file (default: from the sources)")
    parser.add_argument("--check", action="store_true", help="compare with the existing file, write nothing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build = (args.build or args.sources / "build").resolve()
        found = list(runs(compiled(args.sources, build, Path(folder))))
    if args.check:
        same = json.loads(OUTPUT.read_text(encoding="utf-8"))["runs"] == found
        sys.exit(None if same else f"{OUTPUT.name} differs from these results")
    lines = ",\n".join(
        json.dumps(run).replace('"prompts": [', '"prompts": [\n      ').replace("}, {", "},\n      {")
        for run in found
    )
    head = json.dumps({"llama_cpp": args.version or version(args.sources)}, indent=2)
    head = head.removesuffix("\n}")
    OUTPUT.write_text(f'{head},\n  "runs": [\n    {lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
