"""Starts `qwen-queue up` with the demo model in a folder of its own, and stops it."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from .tools import REPOSITORY, TARGET

KEY = "sk-clients-0123456789abcdef"
ADMIN_KEY = "sk-admin-0123456789abcdef"
EMBEDDING = REPOSITORY / "crates/engine/tests/fixtures/embedding/embedding.gguf"


class Server:
    """A running server: where it is, how to talk to it, which models it has."""

    def __init__(self, base: str, key: str, model: str) -> None:
        self.base, self.key, self.model = base.rstrip("/"), key, model
        self.embedding_model: str | None = None
        self.slow_model: str | None = None

    def get(self, path: str) -> tuple[int, bytes]:
        """Sends a GET with the key and returns status and body; 0 if nothing answers."""
        request = urllib.request.Request(self.base + path, headers={"Authorization": f"Bearer {self.key}"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def complaint(self) -> str | None:
        """Returns what is wrong with the server after all steps, or `None`."""
        status, body = self.get("/health")
        return None if status == 200 else f"GET /health answers {status}: {body[:300]!r}"

    def stop(self) -> None:
        """A server that was running before this run is left running."""


class OwnServer(Server):
    """`qwen-queue up` with the demo model, a small embedding model and a slow one, on a free port."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"http://127.0.0.1:{free_port()}", KEY, "demo")
        self.home = home
        binary = Path(os.environ.get("QWEN_QUEUE_BIN", TARGET / "debug" / "qwen-queue"))
        if not binary.exists():
            raise SystemExit(f"tests/clients/run: {binary} is missing: cargo build --locked --workspace --bins --tests")
        slow = synthesized(binary)
        self.embedding_model, self.slow_model = "text-embedding-3-small", "slow"
        settings = {
            "HOST": "127.0.0.1",
            "PORT": self.base.rsplit(":", 1)[1],
            "DATA_DIR": str(home / "data"),
            "LOG_DIR": str(home / "logs"),
            "API_KEYS": KEY,
            "ADMIN_API_KEY": ADMIN_KEY,
            "MODEL_NAME": f"demo,{EMBEDDING},{slow}",
            "MODEL_ALIASES": f"gpt-4o=demo,text-embedding-3-small={EMBEDDING.stem},slow={slow.stem},*=default",
            "WEBHOOK_ALLOW_PRIVATE": "true",
            # Suites that try wrong keys would get 429 instead of 401.
            "AUTH_FAILURES_PER_MINUTE": "0",
        }
        self.output = (home / "up.log").open("wb")
        self.process = subprocess.Popen(
            [binary, "up"],
            env={"PATH": os.environ["PATH"], "HOME": str(home), **settings},
            stdout=self.output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=home,
        )
        self.wait_until_ready(60)

    def wait_until_ready(self, seconds: float) -> None:
        """Waits until a worker takes tasks."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.get("/ready")[0] == 200:
                return
            time.sleep(0.1)
        said = (self.home / "up.log").read_text(errors="replace")
        self.stop()
        raise SystemExit(f"tests/clients/run: the server did not become ready:\n{said}")

    def complaint(self) -> str | None:
        if self.process.poll() is not None:
            said = (self.home / "up.log").read_text(errors="replace")
            return f"the server ended with status {self.process.returncode}:\n{said[-3000:]}"
        for log in ("up.log", "logs/app.log", "logs/errors.log"):
            file = self.home / log
            for line in file.read_text(errors="replace").splitlines() if file.exists() else ():
                if "panicked at" in line:
                    return f"a panic in {log}: {line}"
        return super().complaint()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()


def free_port() -> int:
    """Returns a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def synthesized(binary: Path) -> Path:
    """Returns a model with random weights that is slow enough to be interrupted; end-to-end tests share it."""
    path = binary.with_name("slow-model.gguf")
    if not path.exists():
        part = binary.with_name(f"slow-model-{os.getpid()}.gguf")
        subprocess.run(
            [binary, "model", "synth", "--shape", "tiny", "--quant", "q8_0", "--output", part],
            check=True, stdout=subprocess.DEVNULL,
        )
        part.rename(path)
    return path


def running(base: str, key: str, model: str | None) -> Server:
    """Returns a server that is already running; without a model its first one is taken."""
    server = Server(base.removesuffix("/v1"), key, model or "")
    if not model:
        status, body = server.get("/v1/models")
        if status != 200:
            raise SystemExit(f"tests/clients/run: GET {base}/v1/models answers {status}: {body[:300]!r}")
        server.model = json.loads(body)["data"][0]["id"]
    server.embedding_model = os.environ.get("QWEN_EMBEDDING_MODEL")
    server.slow_model = os.environ.get("QWEN_SLOW_MODEL")
    return server
