"""Starts `qwen-queue up` twice: with the demo model and a slow one, and with a model that sees."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests/clients"))

from runner.server import free_port, synthesized  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()
FIXTURES = REPOSITORY / "crates/engine/tests/fixtures/vision"

KEY = "sk-ui-0123456789abcdef"
ADMIN_KEY = "sk-admin-0123456789abcdef"


class Up:
    """A running `qwen-queue up` in a folder of its own."""

    def __init__(self, home: Path, binary: Path, settings: dict[str, str]) -> None:
        self.home = home
        home.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        shared = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATA_DIR": str(home / "data"),
            "LOG_DIR": str(home / "logs"),
            "API_KEYS": KEY,
            "ADMIN_API_KEY": ADMIN_KEY,
            # Tests that type wrong keys would get 429 instead of 401.
            "AUTH_FAILURES_PER_MINUTE": "0",
        }
        self.output = (home / "up.log").open("wb")
        self.process = subprocess.Popen(
            [binary, "up"],
            env={"PATH": os.environ["PATH"], "HOME": str(home), **shared, **settings},
            stdout=self.output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=home,
        )

    def wait_until_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if status(f"{self.url}/ready") == 200:
                return
            time.sleep(0.1)
        raise SystemExit(f"tests/ui/run: the server did not become ready:\n{self.said()}")

    def said(self) -> str:
        return (self.home / "up.log").read_text(errors="replace")

    def complaint(self) -> str | None:
        """Returns what is wrong with the server after all tests, or `None`."""
        if self.process.poll() is not None:
            return f"a server ended with status {self.process.returncode}:\n{self.said()[-3000:]}"
        return next((f"a panic: {line}" for line in self.said().splitlines() if "panicked at" in line), None)

    def stop(self) -> None:
        end(self.process)
        self.output.close()


class Servers:
    """All processes that the tests need."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ups: list[Up] = []

    def start(self) -> dict[str, str]:
        """Starts everything and returns the environment of the tests."""
        binary = Path(os.environ.get("QWEN_QUEUE_BIN", TARGET / "debug" / "qwen-queue")).resolve()
        if not binary.exists():
            raise SystemExit(f"tests/ui/run: {binary} is missing: cargo build --locked --workspace --bins --tests")
        slow = synthesized(binary)
        seeing = FIXTURES / "qwen3vl"
        answering = Up(self.home / "answering", binary, {"MODEL_NAME": f"demo,{slow}", "MODEL_ALIASES": f"slow={slow.stem}"})
        self.ups.append(answering)
        looking = {
            "MODEL_NAME": str(seeing / "text.gguf"),
            "MMPROJ": str(seeing),
            "MAX_IMAGE_TOKENS": "64",
            "SKILLS_DIR": str(HERE / "skills"),
        }
        self.ups.append(Up(self.home / "seeing", binary, looking))
        for up in self.ups:
            up.wait_until_ready(120)
        return {
            "UI_URL": f"{answering.url}/ui/",
            "UI_SEEING_URL": f"{self.ups[1].url}/ui/",
            "UI_KEY": KEY,
            "UI_ADMIN_KEY": ADMIN_KEY,
            "UI_SLOW_MODEL": slow.stem,
            "UI_PICTURES": str(FIXTURES / "images"),
        }

    def complaint(self) -> str | None:
        return next(filter(None, (up.complaint() for up in self.ups)), None)

    def stop(self) -> None:
        for up in self.ups:
            up.stop()


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def status(url: str) -> int:
    """Returns the status of a GET, or 0 if nothing answers."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
