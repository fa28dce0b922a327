"""Compares the engine with llama.cpp on the same model files and loads.

Each round has three stages. In each stage both programs run, one after the other; the order alternates
from round to round:

  single   one prompt of 128 and one of 512 tokens, one answer of 64     llama-bench
  batched  4 and 16 concurrent answers of 64 tokens                      llama-batched-bench
  mixed    16 clients, prompts of 64 to 512 tokens, answers of 64        llama-server --cont-batching

The mixed load comes from the same generator with the same prompts for both (`qwen-queue bench system` and
`bench server`). It is sent to the bare engine, through gateway, Redis and worker, and to llama-server over HTTP.
A ratio is the median of the rounds' ratios; above 1, qwen-queue is faster.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

STAGES = ("single", "batched", "mixed")
STREAMS = (4, 16)
PROMPTS = (128, 512)
ANSWER = 64
STREAM_PROMPT = 32
LONGEST = 512


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench/engine/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bin", type=Path, required=True, help="the qwen-queue program (passed by run)")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the models (passed by run)")
    parser.add_argument(
        "--llama",
        type=Path,
        default=os.environ.get("LLAMA_CPP_BIN"),
        help="folder of llama.cpp's programs (environment variable: LLAMA_CPP_BIN)",
    )
    parser.add_argument(
        "--models",
        default="qwen3-0.6b:q4_k_m",
        help="SHAPE:QUANT or .gguf files, separated by commas (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each stage (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each program (default: %(default)s)")
    parser.add_argument(
        "--clients", type=int, default=16, help="clients of the mixed load (default: %(default)s)"
    )
    parser.add_argument(
        "--requests", type=int, help="requests of the mixed load (default: four per client)"
    )
    parser.add_argument(
        "--stages", default=",".join(STAGES), help="stages to run, separated by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--no-system",
        action="store_true",
        help="run the mixed load on the bare engine only, not through gateway, Redis and worker",
    )
    parser.add_argument(
        "--timeout", type=int, default=600, help="seconds that one program may run (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write all results to this file")
    args = parser.parse_args()
    if args.llama is None:
        parser.error("pass the folder of llama.cpp's programs as --llama or LLAMA_CPP_BIN")
    args.stages = args.stages.split(",")
    for stage in args.stages:
        if stage not in STAGES:
            parser.error(f"unknown stage '{stage}'; allowed are {', '.join(STAGES)}")
    for program in ("llama-bench", "llama-batched-bench", "llama-server"):
        if not (args.llama / program).is_file():
            parser.error(f"there is no {program} in {args.llama}")
    if not args.bin.is_file():
        parser.error(f"there is no {args.bin}: build it, or run scripts/bench/engine/run")
    args.requests = args.requests or 4 * args.clients
    return args


def output_of(args, command, env=None):
    """Runs a program and returns its standard output. Raises `RuntimeError` if its exit status is not 0."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=args.timeout,
        env={**os.environ, **(env or {})},
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-8:])
        raise RuntimeError(f"{Path(command[0]).name} exited with status {done.returncode}:\n{tail}")
    return done.stdout


def ours(args, command):
    """Runs `qwen-queue bench` and returns the results it writes as JSON."""
    env = {"RAYON_NUM_THREADS": str(args.threads)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figures.json")
        output_of(args, [args.bin, "bench", *command, "--rounds", 1, "--json", file], env)
        return json.loads(file.read_text())


def load_of(args, round_number):
    """Returns the command-line options of one round's mixed load."""
    options = {"requests": args.requests, "longest": LONGEST, "answer": ANSWER, "seed": round_number}
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def our_single(args, model, _round):
    lengths = ",".join(map(str, PROMPTS))
    setup = ours(
        args,
        ["engine", "--model", model, "--prompts", lengths, "--streams", 1, "--clients", 0]
        + ["--stream-prompt", STREAM_PROMPT, "--answer", ANSWER],
    )["setups"][0]
    rates = {f"prompt of {one['of']}": one["tokens_per_second"] for one in setup["prompts"]}
    return rates | {"1 answer": setup["streams"][0]["tokens_per_second"]}


def their_single(args, model, _round):
    lengths = ",".join(map(str, PROMPTS))
    command = [args.llama / "llama-bench", "-m", model, "-t", args.threads, "-p", lengths]
    text = output_of(args, command + ["-n", ANSWER, "-r", 1, "-o", "json"])
    rates = {}
    for one in json.loads(text):
        name = "1 answer" if one["n_gen"] else f"prompt of {one['n_prompt']}"
        rates[name] = one["avg_ts"]
    return rates


def our_batched(args, model, _round):
    counts = ",".join(map(str, STREAMS))
    setup = ours(
        args,
        ["engine", "--model", model, "--prompts", 0, "--streams", counts, "--clients", 0]
        + ["--stream-prompt", STREAM_PROMPT, "--answer", ANSWER],
    )["setups"][0]
    return {f"{one['of']} answers": one["tokens_per_second"] for one in setup["streams"]}


def their_batched(args, model, _round):
    context = max(STREAMS) * (STREAM_PROMPT + ANSWER)
    command = [args.llama / "llama-batched-bench", "-m", model, "-c", context, "-t", args.threads]
    command += ["-npp", STREAM_PROMPT, "-ntg", ANSWER, "-npl", ",".join(map(str, STREAMS))]
    text = output_of(args, command + ["--output-format", "jsonl"])
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {f"{one['pl']} answers": one["speed_tg"] for one in lines}


def our_mixed(args, model, round_number):
    load = load_of(args, round_number)
    if args.no_system:
        command = ["engine", "--model", model, "--prompts", 0, "--streams", 0]
        figures = ours(args, command + ["--clients", args.clients, *load])["setups"][0]["clients"][0]
        return {"mixed, engine": figures["output_per_second"]}
    figures = ours(args, ["system", "--model", model, "--clients", args.clients, *load])
    return {
        "mixed, engine": figures["engine"]["output_per_second"],
        "mixed, whole system": figures["system"]["output_per_second"],
    }


def their_mixed(args, model, round_number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # One slot per client, each long enough for the longest request.
    context = args.clients * (LONGEST + ANSWER + 64)
    command = [args.llama / "llama-server", "-m", model, "-t", args.threads, "-c", context]
    command += ["-np", args.clients, "--cont-batching", "--cache-ram", 0, "--no-webui"]
    command += ["--host", "127.0.0.1", "--port", port]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        try:
            wait_for(server, port, args.timeout)
            url = f"http://127.0.0.1:{port}"
            bench = [args.bin, "bench", "server", "--api", "llama-server", "--url", url]
            bench += ["--clients", args.clients]
            # Warm up, as `bench system` does for the engine.
            output_of(args, bench + ["--requests", 2, "--longest", 64, "--answer", 8, "--seed", 999])
            figures = json.loads(output_of(args, bench + load_of(args, round_number)))
        except Exception as error:
            log.seek(0)
            tail = log.read().decode(errors="replace").splitlines()[-8:]
            raise RuntimeError(f"{error}\nllama-server's last log lines:\n" + "\n".join(tail)) from error
        finally:
            server.kill()
            server.wait()
    expected = args.requests * ANSWER
    if figures["completion_tokens"] != expected:
        raise RuntimeError(f"{figures['completion_tokens']} tokens were generated; {expected} were requested")
    rate = figures["output_per_second"]
    return {"mixed, engine": rate, "mixed, whole system": rate}


def wait_for(server, port, patience):
    until = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if server.poll() is not None:
            raise RuntimeError(f"llama-server exited with status {server.returncode}")
        if time.monotonic() > until:
            raise RuntimeError(f"llama-server was not ready after {patience} s")
        time.sleep(0.1)


CONTENDERS = {
    "single": (our_single, their_single),
    "batched": (our_batched, their_batched),
    "mixed": (our_mixed, their_mixed),
}


def measure(args, model, rates, keep):
    """Runs all rounds and appends the rate of each load to `rates`: {load: {"ours": [...], "llama": [...]}}.

    Calls `keep` after each stage, so that an interrupted run leaves the results so far.
    """
    for round_number in range(args.rounds):
        for stage in args.stages:
            pair = list(zip(("ours", "llama"), CONTENDERS[stage]))
            if round_number % 2:
                pair.reverse()
            results = {}
            for name, run in pair:
                say(f"round {round_number + 1} of {args.rounds}, {stage}: {name}")
                try:
                    results[name] = run(args, model, round_number)
                except (RuntimeError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
                    say(f"  failed: {error}")
            # A round counts only if both programs have a result.
            for load in results.get("ours", {}):
                if load in results.get("llama", {}):
                    both = rates.setdefault(load, {"ours": [], "llama": []})
                    both["ours"].append(results["ours"][load])
                    both["llama"].append(results["llama"][load])
            keep()


def say(text):
    print(text, file=sys.stderr, flush=True)


def file_of(args, model):
    """Returns the path of a model; creates the file first if it is a SHAPE:QUANT that does not exist yet."""
    if model.endswith(".gguf"):
        return Path(model)
    shape, _, quant = model.partition(":")
    path = args.folder / f"{shape}-{quant or 'q4_k_m'}.gguf"
    if not path.exists():
        args.folder.mkdir(parents=True, exist_ok=True)
        say(f"creating {path.name}")
        part = path.with_suffix(".part")
        command = [args.bin, "model", "synth", "--shape", shape, "--quant", quant or "q4_k_m"]
        output_of(args, command + ["--output", part])
        part.rename(path)
    return path


def main():
    args = arguments()
    everything = {}

    def keep():
        for both in (both for rates in everything.values() for both in rates.values()):
            both["ratios"] = [mine / theirs for mine, theirs in zip(both["ours"], both["llama"])]
            both["ratio"] = statistics.median(both["ratios"])
        if args.json:
            args.json.write_text(json.dumps(everything, indent=2) + "\n")

    for model in args.models.split(","):
        say(f"== {model}")
        everything[model] = {}
        measure(args, file_of(args, model), everything[model], keep)
    print(f"tokens per second, {args.threads} threads, medians of {args.rounds} round(s)\n")
    print("| model | load | ours | llama.cpp | ratio |")
    print("|---|---|---|---|---|")
    for model, rates in everything.items():
        for load, both in rates.items():
            mine, theirs = statistics.median(both["ours"]), statistics.median(both["llama"])
            print(f"| {model} | {load} | {mine:.1f} | {theirs:.1f} | {both['ratio']:.2f} |")
    if not all(everything.values()):
        sys.exit("some results are missing: see the errors above")


if __name__ == "__main__":
    main()
