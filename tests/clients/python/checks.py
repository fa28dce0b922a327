"""Named checks of one client script.

A script declares functions with `@check` and ends with `main()`, which runs all of them, prints one line for each, and exits with
status 1 if any failed. Arguments select checks by name.
"""

import asyncio
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable

BASE = os.environ["QWEN_BASE"]
KEY = os.environ["QWEN_KEY"]
MODEL = os.environ["QWEN_MODEL"]
EMBEDDING_MODEL = os.environ.get("QWEN_EMBEDDING_MODEL")
SLOW_MODEL = os.environ.get("QWEN_SLOW_MODEL")
QUESTION = "How do I add a worker?"
QUESTIONS = [QUESTION, "How long are results kept?", "How do I watch the queue?", "What is a task id?"]

WEATHER = {
    "name": "get_weather",
    "description": "Returns the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Berlin"]}, "days": {"type": "integer", "enum": [1, 2, 3]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}

_checks: list[Callable] = []


class Skipped(Exception):
    """This server lacks what the check needs."""


def check(function: Callable) -> Callable:
    """Adds a function to the script's checks."""
    _checks.append(function)
    return function


def slow_model() -> str:
    """Returns the model that is slow enough to be interrupted, or skips the check."""
    if SLOW_MODEL is None:
        raise Skipped("set QWEN_SLOW_MODEL to a model that is slow enough to be interrupted")
    return SLOW_MODEL


def embedding_model() -> str:
    """Returns a model of embeddings, or skips the check."""
    if EMBEDDING_MODEL is None:
        raise Skipped("set QWEN_EMBEDDING_MODEL to a model of embeddings")
    return EMBEDDING_MODEL


def expect(holds: object, seen: object = "") -> None:
    """Fails the check unless `holds`; `seen` is shown."""
    if not holds:
        raise AssertionError(f"saw {seen!r}")


def equal(left: object, right: object) -> None:
    """Fails the check unless both are equal, and shows them."""
    if left != right:
        raise AssertionError(f"{left!r} is not {right!r}")


def weather(arguments: str | dict) -> dict:
    """Returns the arguments of a call of WEATHER after checking them against its schema."""
    import json

    value = json.loads(arguments) if isinstance(arguments, str) else arguments
    expect(value["city"] in ("Paris", "Berlin") and value["days"] in (1, 2, 3) and len(value) == 2, value)
    return value


def until(what: Callable[[], object], seconds: float = 30, pause: float = 0.1) -> object:
    """Calls a function until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s")


def main() -> None:
    """Runs the checks."""
    counts = {"passed": 0, "skipped": 0, "failed": 0}
    for function in _checks:
        if sys.argv[1:] and function.__name__ not in sys.argv[1:]:
            continue
        began, outcome, why = time.monotonic(), "passed", ""
        try:
            result = function()
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except Skipped as reason:
            outcome, why = "skipped", f": {reason}"
        except BaseException as error:  # noqa: BLE001 - also what a framework raises outside Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            traceback.print_exc(limit=-4)
            outcome, why = "failed", f": {type(error).__name__}: {error}"[:600]
        counts[outcome] += 1
        print(f"{outcome} {function.__name__} ({time.monotonic() - began:.2f} s){why}", flush=True)
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed{skipped}, {counts['failed']} failed", flush=True)
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)
