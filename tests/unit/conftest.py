"""What all unit tests have."""

import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says something of the disk and of what else runs: speed is measured by the bench.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let reports go from process to process: what hostile tests have logged may hold halves of characters."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every uid may enter, with a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="nanoclaw-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
