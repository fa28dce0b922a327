"""The steps of the run, and how one step is run: a command, a clean environment, a time limit."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .server import Server
from .tools import HERE, ROOT, Tools


@dataclass
class Run:
    """What steps get to work with."""

    tools: Tools
    server: Server
    reports: Path
    """The folder for outputs and reports, one file per step."""
    full: bool = False
    """Whether long variants run."""
    record: bool = False
    """Whether baselines are written instead of compared."""
    cases: int | None = None
    """How many cases schemathesis generates for each route; `None`: as many as 80 s allow."""


@dataclass
class Outcome:
    """How a step ended."""

    passed: bool
    summary: str
    """One line for the table."""
    details: list[str] = field(default_factory=list)
    """Lines to print if it failed."""


@dataclass(frozen=True)
class Step:
    """A named step."""

    name: str
    body: Callable[[Run], Outcome]


def environment(run: Run, **more: str) -> dict[str, str]:
    """Returns the whole environment of a client: none of the caller's keys, addresses or proxies leaks into it."""
    home = run.reports / "home"
    home.mkdir(exist_ok=True)
    server = run.server
    known = {
        "PATH": f"{run.tools.node}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_PROXY": "*",
        "PYTHONPYCACHEPREFIX": str(ROOT / "pycache"),
        "QWEN_BASE": server.base,
        "QWEN_KEY": server.key,
        "QWEN_MODEL": server.model,
        # Nothing is fetched, nothing is reported to anyone.
        "ANONYMIZED_TELEMETRY": "False",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "LANGSMITH_TRACING": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    if server.embedding_model:
        known["QWEN_EMBEDDING_MODEL"] = server.embedding_model
    if server.slow_model:
        known["QWEN_SLOW_MODEL"] = server.slow_model
    return known | more


@dataclass(frozen=True)
class Done:
    """A command that ended or was stopped at its time limit."""

    status: int | None
    """The exit status; `None` if the time limit was reached."""
    stdout: str
    stderr: str

    @property
    def failure(self) -> str | None:
        """Returns why the command failed, or `None`."""
        if self.status is None:
            return "reached its time limit"
        return f"exit status {self.status}" if self.status else None

    def tail(self, lines: int = 40) -> list[str]:
        """Returns the last lines of both outputs."""
        return (self.stdout.splitlines() + self.stderr.splitlines())[-lines:]


def execute(run: Run, name: str, command: list[object], seconds: float, cwd: Path | None = None, **more: str) -> Done:
    """Runs a command with a clean environment, ends it with all its children at the time limit, keeps its output."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env=environment(run, **more),
        cwd=cwd or run.reports,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=seconds)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        status = None
    (run.reports / f"{name}.out").write_text(stdout)
    (run.reports / f"{name}.err").write_text(stderr)
    return Done(status, stdout, stderr)


def script(name: str, file: str, runtime: str, seconds: float = 60) -> Step:
    """Returns the step that runs one of this repository's scripts: `runtime` is a virtual environment or `node`."""

    def body(run: Run) -> Outcome:
        if runtime == "node":
            command: list[object] = [run.tools.node / "node", run.tools.node_packages / file]
        else:
            command = [run.tools.python(runtime), HERE / "python" / file]
        done = execute(run, name, command, seconds)
        lines = [line for line in done.stdout.splitlines() if line.endswith(" failed")]
        summary = "; ".join([*lines[-1:], *([done.failure] if done.failure and not lines else [])])
        return Outcome(done.failure is None, summary or "ended without a summary", done.tail(80))

    return Step(name, body)


def timed(step: Step, run: Run) -> tuple[Outcome, float]:
    """Runs a step and returns its outcome and its seconds; a step that raises has failed."""
    began = time.monotonic()
    try:
        outcome = step.body(run)
    except Exception as error:  # noqa: BLE001 - a broken step must not hide the others
        outcome = Outcome(False, f"{type(error).__name__}: {error}")
    return outcome, time.monotonic() - began
