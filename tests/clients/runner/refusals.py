"""What suites ask for and the server refuses on purpose: `baseline/refused.json`, explained in docs/COMPATIBILITY.md."""

import fnmatch
import json
from dataclasses import dataclass

from .steps import Outcome, Run
from .tools import HERE, REPOSITORY

FILE = HERE / "baseline" / "refused.json"
DOCUMENT = REPOSITORY / "docs" / "COMPATIBILITY.md"


@dataclass(frozen=True)
class Refusal:
    """Tests of one suite that must fail, for one reason."""

    suite: str
    reason: str
    """The name of the reason in docs/COMPATIBILITY.md."""
    tests: list[str]
    """Patterns over the suite's test names, with `*` and `?`."""


def refusals() -> list[Refusal]:
    """Returns all refusals."""
    return [Refusal(**entry) for entry in json.loads(FILE.read_text())]


def judge(suite: str, results: dict[str, str | None]) -> Outcome:
    """Judges a suite by its tests, each with its fault or `None`.

    A fault that no refusal explains fails the step, and so does a refusal whose tests all pass: it is out of date.
    """
    expected = [entry for entry in refusals() if entry.suite == suite]
    faults = {name: fault for name, fault in results.items() if fault is not None}
    refused = {name for name in faults if any(matches(name, pattern) for entry in expected for pattern in entry.tests)}
    stale = [
        pattern for entry in expected for pattern in entry.tests if not any(matches(name, pattern) for name in refused)
    ]
    details = [f"{name}: {fault}" for name, fault in faults.items() if name not in refused]
    details += [f"refused.json, {suite}: nothing that matches '{pattern}' fails any more; remove it" for pattern in stale]
    passed = len(results) - len(faults)
    summary = f"{passed} passed, {len(refused)} refused, {len(faults) - len(refused)} failed"
    if stale:
        summary += f", {len(stale)} refusals out of date"
    if not results:
        return Outcome(False, "no test ran")
    return Outcome(not details, summary, details)


def matches(name: str, pattern: str) -> bool:
    """Returns whether a test's name matches; brackets stand for themselves, as in pytest's names."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def explained(_run: Run) -> Outcome:
    """Checks that docs/COMPATIBILITY.md explains every refusal, and no reason that nothing is refused for."""
    document = DOCUMENT.read_text()
    table = document.split("## What a suite asks and we refuse", 1)[-1].split("\n## ", 1)[0]
    reasons = {line.split("|")[1].strip(" `") for line in table.splitlines() if line.startswith("| `")}
    used = {entry.reason for entry in refusals()}
    details = [f"docs/COMPATIBILITY.md lacks the reason '{reason}' of refused.json" for reason in sorted(used - reasons)]
    details += [f"docs/COMPATIBILITY.md has the reason '{reason}', which refused.json lacks" for reason in sorted(reasons - used)]
    return Outcome(not details, f"{len(used)} reasons", details)
