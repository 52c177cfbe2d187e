"""Fixtures of the whole suite."""

import os
from pathlib import Path

import hypothesis
import pytest

# No clock decides a test; and what lands does not hang on the examples of one day.
hypothesis.settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("house")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test data (PUNA_SHARED_DATA, or ../shared/data beside the checkout); skips where absent."""
    folder = Path(os.environ.get("PUNA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data are not at {folder}; set PUNA_SHARED_DATA")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests run in two processes on two cores: one thread each."""
    import torch

    torch.set_num_threads(1)
