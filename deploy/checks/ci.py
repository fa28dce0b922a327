"""Checks the files that CI runs: GitHub workflows, Dockerfiles, shell scripts, and the script of release notes."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from .basics import DEPLOY, ROOT, call, report_unchecked, require


def check_workflows():
    """Checks .github/workflows against its schema and with actionlint."""
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    call(["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files])
    call(["actionlint", *files])


def check_dockerfiles():
    """Checks all Dockerfiles with hadolint."""
    files = sorted(DEPLOY.glob("*.Dockerfile"))
    call(["hadolint", *files])
    report_unchecked("images: not built (`deploy/check images` builds them on stand-ins for their base images)")
    return f"{len(files)} files"


def check_scripts():
    """Checks install.sh with shellcheck, and what scripts/release-notes prints."""
    call(["shellcheck", DEPLOY / "install.sh"])
    check_release_notes()


def check_release_notes():
    """Checks that scripts/release-notes prints one section of a changelog, and fails if the section is missing or empty."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "scripts/release-notes")
        script.parent.mkdir()
        shutil.copy(ROOT / "scripts/release-notes", script)
        Path(folder, "CHANGELOG.md").write_text(
            "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-01-02\n\n### Added\n\n- two\n\n## [0.1.0] - 2026-01-01\n\n- one\n\n"
            "## [0.0.2] - 2026-01-01\n\n### Added\n\n## [0.0.1]\n\n- nothing\n")
        for version, printed in (("0.2.0", "### Added\n\n- two\n"), ("v0.1.0", "- one\n")):
            said = call([script, version])
            require(said == printed, f"release-notes {version} prints {said!r}")
        for version in ("0.3.0", "Unreleased", "0.0.2", "0.0.1"):
            ran = subprocess.run([script, version], capture_output=True, text=True)
            require(ran.returncode == 1 and version in ran.stderr and not ran.stdout, f"release-notes {version} does not fail: {ran}")
