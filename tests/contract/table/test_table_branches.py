"""The same suite on a table, for the branches that answer one."""

import pytest
from test_branches import *  # noqa: F403  the suite

from harness.request import TABLE_HEADS

pytestmark = pytest.mark.parametrize("name", ["prior", "ridge", "mlp", *TABLE_HEADS])
