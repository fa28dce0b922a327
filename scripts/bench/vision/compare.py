"""Compares the engine with llama.cpp's libmtmd: encoding an image, and processing its rows by the text model.

In each round both programs run on the same files, one after the other; the order alternates. Each warms up with the
first size. A ratio is the median of the rounds' ratios; above 1, the engine is faster. Ratios are given by the clock and by
processor seconds: on a busy machine trust the latter, with the reservation that waiting threads spin.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

PAIRS = (
    ("qwen3-vl-0.6b-q8_0.gguf", "mmproj-qwen3.5-0.8b-q8_0.gguf"),
    ("qwen3-vl-0.6b-q8_0.gguf", "mmproj-qwen3.5-0.8b-f16.gguf"),
    ("qwen3-vl-2b-q8_0.gguf", "mmproj-qwen3-vl-2b-q8_0.gguf"),
    ("qwen3-vl-2b-q8_0.gguf", "mmproj-qwen3-vl-2b-f16.gguf"),
)


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench/vision/run LLAMA_CPP BUILD",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bench", type=Path, required=True, help="the engine's bench (passed by run)")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the files (passed by run)")
    parser.add_argument("--only", default="", help="only projectors with this in their name")
    parser.add_argument("--tokens", default="256,1024", help="tokens of the images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    return parser.parse_args()


def lines(command, threads):
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    spans = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(span["what"], span["tokens"]): span for span in spans}


def main():
    options = arguments()
    tokens = options.tokens.split(",")
    if not all((options.folder / name).exists() for pair in PAIRS for name in pair):
        subprocess.run([options.bench, "files", options.folder], check=True)
    results = []
    print(f"{'':46} {'engine':>15} {'llama.cpp':>15} {'ratio':>6} {'ratio':>6}")
    print(f"{'':46} {'s':>7} {'cpu s':>7} {'s':>7} {'cpu s':>7} {'clock':>6} {'cpu':>6}")
    for text, projector in PAIRS:
        if options.only not in projector:
            continue
        files = [options.folder / text, options.folder / projector]
        programs = {
            "engine": [options.bench, "image", *files, *tokens],
            "llama.cpp": [options.folder / "mtmd", *files, str(options.threads), *tokens],
        }
        rounds = []
        for index in range(options.rounds):
            order = list(programs) if index % 2 == 0 else list(programs)[::-1]
            rounds.append({name: lines(programs[name], options.threads) for name in order})
        for key in rounds[0]["engine"]:
            def all_of(name, unit):
                return [one[name][key][unit] for one in rounds]

            def ratio(unit):
                return statistics.median(
                    theirs / ours for ours, theirs in zip(all_of("engine", unit), all_of("llama.cpp", unit))
                )

            medians = [
                statistics.median(all_of(name, unit)) for name in programs for unit in ("wall", "cpu")
            ]
            label = f"{projector.removesuffix('.gguf')} {key[0]} {key[1]}"
            row = " ".join(f"{value:7.2f}" for value in medians)
            print(f"{label:46} {row} {ratio('wall'):6.2f} {ratio('cpu'):6.2f}", flush=True)
            results.append({"file": projector, "what": key[0], "tokens": key[1],
                            "rounds": [{name: one[name][key] for name in programs} for one in rounds]})
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
