"""Branches that are in no registry and are put through the suite by name: `--branch package.module:Mine`."""

import pytest

from harness.branch import make_branch
from harness.tasks import get_task, task_ids
from harness.tasks.base import Task

TABLE_TASK = "quality_score"


def named(config: pytest.Config) -> list[str]:
    """As given; empty where the option is not known because the suite is run among others."""
    return list(dict.fromkeys(config.getoption("branch", default=None) or []))


def named_for(config: pytest.Config, table: bool) -> list[str]:
    """Those that belong to the suite on a table, or to the one on recordings; there also those that answer nothing at all."""
    return [name for name in named(config) if (_on_table(name) if table else _on_recordings(name) or not _on_table(name))]


def _on_table(name: str) -> bool:
    return _answers(name, get_task(TABLE_TASK))


def _on_recordings(name: str) -> bool:
    return any(_answers(name, get_task(task)) for task in task_ids() if task != TABLE_TASK)


def _answers(name: str, task: Task) -> bool:
    return make_branch(name, preset="tiny").route(task) is not None
