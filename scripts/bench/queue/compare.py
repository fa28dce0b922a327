"""Measures Celery, BullMQ and qwen-queue, one after another, each on a fresh Redis with the same settings.

On a machine with two or more cores, Celery and BullMQ run twice: once with a core reserved for Redis, as for
qwen-queue, and once with all processes on all cores. The run with the higher end-to-end rate counts.
"""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import redis

HERE = pathlib.Path(__file__).parent
PROMPT = (
    "Please read the following notes of our meeting and give me a summary in three short points, "
    "each with the name of the person who does it and the day by which it has to be done; leave all "
    "else out. Thank you!"
)
BODY = json.dumps({"prompt": PROMPT, "max_tokens": 200})


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


@contextlib.contextmanager
def process(*command, **more):
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, **more)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_until(what: str, is_so, patience: float = 60, pause: float = 0.005) -> None:
    until = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit(f"compare.py: still no {what} after {patience} s")
        time.sleep(pause)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def core_for_redis():
    """Reserves a core for Redis while the block runs.

    Excludes the core from the affinity of this process and of those it starts. Yields the arguments that pin
    redis-server to the core.
    """
    cores = sorted(os.sched_getaffinity(0))
    others = ",".join(map(str, cores[1:]))
    os.sched_setaffinity(0, cores[1:])
    try:
        yield ["--server_cpulist", str(cores[0]), "--bio_cpulist", others,
               "--aof_rewrite_cpulist", others]
    finally:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def fresh_redis(arguments):
    """Starts a Redis with the persistence settings of docker-compose.yml. Yields a client and the port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, process(
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
        "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction",
        "--auto-aof-rewrite-min-size", "256mb", *arguments,
    ):
        wait_until("Redis", lambda: listens(port))
        yield redis.Redis(port=port), port


def fire(args, port: int, path: str = "/generate") -> dict:
    """Runs the load generator (`qwen-queue bench http`), the same for all systems, and returns its results."""
    done = subprocess.run(
        [args.bin, "bench", "http", "--address", f"127.0.0.1:{port}", "--path", path, "--body", BODY,
         "--seconds", str(args.seconds)],
        check=True, capture_output=True, text=True,
    )
    return json.loads(done.stdout)


def drained(count, expected: int) -> float:
    """Waits for `expected` results and returns their rate, without the first tenth, which includes the start-up."""
    wait_until("first results", lambda: count() >= expected // 10)
    first, began = count(), time.perf_counter()
    wait_until("results", lambda: count() >= expected, patience=300)
    return (expected - first) / (time.perf_counter() - began)


def through(args, serve, work, warm, count) -> dict:
    """Measures HTTP submits alone, workers alone on the submitted tasks, then both at once until all are done."""
    figures = {}
    with serve() as port:
        for _ in range(2):
            warm(port)
        with contextlib.ExitStack() as stack:
            submitted = fire(args, port)
            figures["http_submit"] = submitted["per_second"]
            figures["http_submit_p50_ms"] = submitted["latency"]["p50_ms"]
            figures["http_submit_p99_ms"] = submitted["latency"]["p99_ms"]
            stack.enter_context(work())
            figures["drain"] = drained(count, submitted["requests"] + 2)
            before, began = count(), time.perf_counter()
            submitted = fire(args, port)
            wait_until("results", lambda: count() >= before + submitted["requests"], patience=300)
            figures["end_to_end"] = submitted["requests"] / (time.perf_counter() - began)
            time.sleep(0.2)
            if count() != before + submitted["requests"]:
                raise SystemExit(f"compare.py: {count()} results, not {before} + {submitted['requests']}")
    return figures


def celery(args, redis_arguments) -> dict:
    with fresh_redis(redis_arguments) as (store, redis_port):
        where = {"cwd": HERE, "env": {**os.environ, "BENCH_REDIS": f"redis://127.0.0.1:{redis_port}"}}
        quiet = {**where, "stderr": subprocess.DEVNULL}

        @contextlib.contextmanager
        def serve():
            port = free_port()
            with process("uvicorn", "celery_app:api", "--port", str(port), "--no-access-log",
                         "--log-level", "warning", **where):
                wait_until("uvicorn", lambda: listens(port))
                yield port

        def work():
            return process("celery", "-A", "celery_app:queue", "worker", "-P", "prefork", "-c", "2",
                           "--loglevel", "WARNING", "--without-gossip", "--without-mingle", **quiet)

        def count() -> int:
            # Every finished task has one result key; subtract the other keys, which are listed here.
            look = store.pipeline(transaction=True).dbsize().exists(
                "celery", "unacked", "unacked_index", "unacked_mutex", "_kombu.binding_deadlines",
                *(f"_kombu.{kind}.{name}" for kind in ("binding", "binding_permanent")
                  for name in ("celery", "celery.pidbox", "celeryev", "reply.celery.pidbox")))
            keys, others = look.execute()
            return keys - others

        def warm(port):
            subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/generate", "-d", BODY,
                            "-H", "Content-Type: application/json"], check=True, capture_output=True)

        return through(args, serve, work, warm, count)


def bullmq(args, redis_arguments) -> dict:
    with fresh_redis(redis_arguments) as (store, redis_port):
        env = {**os.environ, "BENCH_REDIS_PORT": str(redis_port), "BENCH_BODY": BODY}

        @contextlib.contextmanager
        def serve():
            port = free_port()
            with process("node", args.bullmq, "serve", str(port), env=env):
                wait_until("the server", lambda: listens(port))
                yield port

        def work():
            return process("node", args.bullmq, "work", env=env)

        def count() -> int:
            return store.zcard("bull:bench:completed")

        def warm(port):
            subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/generate", "-d", BODY],
                           check=True, capture_output=True)

        figures = through(args, serve, work, warm, count)
        store.flushall()
        add = ["node", args.bullmq, "add", str(args.seconds)]
        added = json.loads(subprocess.run(add, env=env, check=True, capture_output=True).stdout)
        figures["broker_submit"] = added["per_second"]
        store.flushall()
        with work():
            time.sleep(1)
            began = time.perf_counter()
            added = json.loads(subprocess.run(add, env=env, check=True, capture_output=True).stdout)
            wait_until("results", lambda: count() >= added["added"], patience=300)
            figures["end_to_end_at_broker"] = added["added"] / (time.perf_counter() - began)
        return figures


def better(args, measure) -> dict:
    """Measures with shared cores and with a core reserved for Redis.

    Returns the results with the higher end-to-end rate, and that rate for both.
    """
    shared = measure(args, [])
    if len(os.sched_getaffinity(0)) < 2:
        return shared
    with core_for_redis() as redis_arguments:
        apart = measure(args, redis_arguments)
    best = max(shared, apart, key=lambda figures: figures["end_to_end"])
    rates = {"shared": shared["end_to_end"], "apart": apart["end_to_end"]}
    return {**best, "end_to_end_by_cores": rates}


def ours(args) -> dict:
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([args.bin, "bench", "queue", "--broker", "redis", "--seconds", str(args.seconds),
                        "--json", file.name], check=True, stdout=subprocess.DEVNULL)
        full = json.load(open(file.name))[0]
    latency = full["http_submit"]["latency"]
    names = ["http_submit", "broker_submit", "drain", "end_to_end", "end_to_end_at_broker"]
    return {
        **{name: full[name]["per_second"] for name in names},
        "http_submit_p50_ms": latency["p50_ms"], "http_submit_p99_ms": latency["p99_ms"], "full": full,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--bullmq", required=True)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--json")
    args = parser.parse_args()
    figures = {}
    for name, measure in [("Celery", celery), ("BullMQ", bullmq)]:
        print(f"measuring {name}", flush=True)
        figures[name] = better(args, measure)
        for cores, rate in figures[name].get("end_to_end_by_cores", {}).items():
            print(f"  end to end, cores {cores}: {rate:,.0f} tasks/s", flush=True)
    print("measuring qwen-queue", flush=True)
    figures["qwen-queue"] = ours(args)
    rows = {
        "http_submit": "submits/s over HTTP", "http_submit_p50_ms": "  p50, ms",
        "http_submit_p99_ms": "  p99, ms", "broker_submit": "submits/s at the broker",
        "end_to_end": "end to end tasks/s over HTTP",
        "end_to_end_at_broker": "end to end tasks/s at the broker", "drain": "workers alone tasks/s",
    }
    print(f"\n{'':<34}" + "".join(f"{name:>12}" for name in figures) + f"{'x Celery':>10}{'x BullMQ':>10}")
    for key, title in rows.items():
        cells = [each.get(key) for each in figures.values()]
        line = f"{title:<34}" + "".join(f"{cell:>12,.1f}" if cell else f"{'-':>12}" for cell in cells)
        for peer in cells[:2]:
            line += f"{cells[2] / peer:>10.2f}" if peer and not key.endswith("ms") else f"{'':>10}"
        print(line)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
