"""Where the shared pictures, clips and third-party weights are; tests that need them skip without."""

import os
import signal
from pathlib import Path

import pytest

# A suite started in the background has Ctrl-C ignored, and its children would inherit that: they are tested with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _folder(variable: str) -> Path:
    value = os.environ.get(variable, "")
    if not value or not Path(value).is_dir():
        pytest.skip(f"{variable} names no folder")
    return Path(value).resolve()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that holds the data sets ($VAEGAN_DATA)."""
    return _folder("VAEGAN_DATA")


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of third-party weights ($VAEGAN_MODELS)."""
    return _folder("VAEGAN_MODELS")
