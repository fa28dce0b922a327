"""Checks that the files and headings that docs/DEPLOYING.md names exist."""

import re

from .basics import ROOT, require


def check_guide():
    """Checks each path below deploy/, and each link to another document."""
    text = (ROOT / "docs/DEPLOYING.md").read_text()
    for path in set(re.findall(r"\b(deploy/[\w./-]*\w)", text)):
        require((ROOT / path).exists() or path.startswith("deploy/tls"), f"docs/DEPLOYING.md names {path}, which is not there")
    for path, heading in re.findall(r"\]\((\w+\.md)(?:#([\w-]+))?\)", text):
        file = ROOT / "docs" / path
        require(file.exists(), f"docs/DEPLOYING.md links to {path}, which is not there")
        headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                    for line in file.read_text().splitlines() if line.startswith("#")}
        require(not heading or heading in headings, f"docs/DEPLOYING.md links to {path}#{heading}, which is not there")
