"""A pytest plugin: lets the tests of the openai package use the server's key instead of `My API Key`.

Load it with `-p openai_key`. The key has spaces, which can't stand in API_KEYS.
"""

import os
import sys

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Replaces the key before the fixtures that read it run."""
    sys.modules["tests.conftest"].api_key = os.environ["QWEN_KEY"]
