"""Functions that all checks use: they run commands, state requirements, read files, and report what was not checked."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

unchecked = []
"""What could not be checked, in the order in which it was reported."""


class Failed(Exception):
    """Raised by a check that finds a mistake; the text says which."""


def call(command, **more):
    """Runs a command in the repository's root. Returns what it printed, or raises Failed with it."""
    command = [str(word) for word in command]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **more)
    if ran.returncode != 0:
        raise Failed(f"{' '.join(command)}\n{ran.stdout}{ran.stderr}")
    return ran.stdout + ran.stderr


def report_unchecked(what):
    """Adds a line to the list of what was not checked."""
    unchecked.append(what)


def need(tool, what):
    """Returns True if the tool is installed. Otherwise reports that `what` is not checked, and returns False."""
    if shutil.which(tool):
        return True
    report_unchecked(f"{what}: no {tool}")
    return False


def require(condition, message):
    """Raises Failed with the message unless the condition holds."""
    if not condition:
        raise Failed(message)


def replace(text, changes):
    """Applies (old, new) pairs to a text. Raises Failed if an old one does not occur."""
    for old, new in changes:
        require(old in text, f"not found: {old}")
        text = text.replace(old, new)
    return text


def check_shell(script, where):
    """Checks a shell script that another file embeds. `where` names the place in the message."""
    ran = subprocess.run(["shellcheck", "--shell=sh", "-"], input=script, capture_output=True, text=True)
    require(ran.returncode == 0, f"the script of {where}:\n{ran.stdout}")


def read_yaml(file):
    """Returns the only document of a YAML file."""
    import yaml

    return yaml.safe_load(file.read_text())


def read_documents(files):
    """Returns all documents of YAML files, without the empty ones."""
    import yaml

    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def read_setting_names():
    """Returns the names of all settings that .env.example describes."""
    return set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
