# Each target makes its environment first (ops/setup.sh: nothing to do when it is there).
# Run Python from .venv directly: under `uv run`, Ray would rebuild the environment for every worker.
PYTEST = HF_HUB_OFFLINE=1 RAY_AUTH_MODE=disabled .venv/bin/python -m pytest
RUN ?= runs/demo
DRY_RUN ?= runs/dry-run

.PHONY: setup demo dry-run tiny reproduce test test-slow check format

setup:
	@ops/setup.sh

demo: setup  ## 8 simulated episodes, floors and heads, all tasks
	.venv/bin/espalier run demo --out $(RUN)

tiny: setup  ## train the tiny checkpoints anew, one script per family
	HF_HUB_OFFLINE=1 .venv/bin/python -m branches.policy.pretrain_smolvlm
	HF_HUB_OFFLINE=1 .venv/bin/python -m branches.qwen_omni.pretrain
	HF_HUB_OFFLINE=1 .venv/bin/python -m branches.world_model.pretrain_jepa
	HF_HUB_OFFLINE=1 .venv/bin/python -m branches.world_model.pretrain_cosmos

dry-run: setup  ## every branch that is registered, configurations chosen by Ray Tune, on 6 simulated episodes
	HF_HUB_OFFLINE=1 .venv/bin/espalier select demo --episodes 6 --out $(DRY_RUN) budget=trials:2 windows.max_per_episode=60

reproduce: setup  ## published figures beside what their rows give, ours and the floor: make reproduce PUBLISHED=DIR
	@.venv/bin/python -m harness.imports.reproduce $(PUBLISHED)

check: setup  ## style and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

test: check  ## under 15 minutes on two cores
	$(PYTEST) -m "not slow and not gpu"

test-slow: setup  ## the rest
	$(PYTEST) -m "slow"
