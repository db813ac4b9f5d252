"""Fixtures that every test may use."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and published predictions beside the checkout; tests skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is absent: real recordings are not part of the repository")
    return SHARED_DATA
