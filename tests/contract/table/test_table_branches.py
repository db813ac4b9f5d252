"""The same suite on a table, for the branches that answer one."""

from test_branches import *  # noqa: F403  the suite

from harness.request import TABLE_HEADS

NAMES, TABLE = ["prior", "ridge", "mlp", *TABLE_HEADS], True
