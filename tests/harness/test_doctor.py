"""`espalier doctor`: this machine, a branch's plan, a cluster."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import call

from harness.branch import BranchCard, branch_names
from harness.doctor import Findings
from harness.doctor.cluster import missing
from harness.doctor.machine import compare_packages
from harness.manifest import PACKAGES, locked_versions
from harness.model_plan import GIB, ModelPlan, Part


def told(*words: object) -> tuple[int, dict]:
    done = call("doctor", *words, "--json")
    assert done.err == ""
    return done.code, json.loads(done.out)


# --- this machine --------------------------------------------------------------------------------------------------------------


def test_all_is_well_here():
    done = call("doctor")
    assert (done.code, done.err) == (0, ""), done
    for word in ("Python 3.12", "CPUs", "GPUs:", "torch", "decoder pyav: PyAV", "decoder torchcodec:", "policy:act", "all well"):
        assert word in done.out, word
    code, found = told()
    assert code == 0 and found["broken"] == [] and set(found) == {"machine", "broken", "remarks"}
    machine = found["machine"]
    assert machine["branches"] == branch_names() and machine["cpus"] == os.cpu_count() and machine["memory_gib"] > 0
    assert [row["package"] for row in machine["packages"]] == list(PACKAGES)


def test_a_branch_that_cannot_be_imported_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another package, registered like any and without what it stands on."""
    about = tmp_path / "torn-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[espalier.branches]\ntorn = torn.adapter:Torn\nodd = torn_too:Odd\n")
    (tmp_path / "torn_too.py").write_text("raise RuntimeError('built for another machine\\nand more')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, found = told()
    assert code == 1 and "torn" not in found["machine"]["branches"] and "ridge" in found["machine"]["branches"]
    lines = {line for line in found["broken"] if "torn" in line or "odd" in line}
    assert lines == {
        "branch 'torn' (torn.adapter:Torn) cannot be imported: No module named 'torn'; install what it needs",
        "branch 'odd': RuntimeError: built for another machine",
    }
    shown = call("doctor")
    assert shown.code == 1 and "broken: branch 'torn'" in shown.out and "all well" not in shown.out


def test_packages_are_held_against_the_lock(tmp_path: Path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# made by a tool\ntorch==2.11.0 \\\n    --hash=sha256:00\nnumpy==2.2.6 ; x\npeft==0.21.2\nav==15.1.0\nray==2.60.0\n"
    )
    locked = locked_versions(lock)
    assert locked == {"torch": "2.11.0", "numpy": "2.2.6", "peft": "0.21.2", "av": "15.1.0", "ray": "2.60.0"}
    assert locked_versions(tmp_path / "none") == {}
    there = dict.fromkeys(PACKAGES, "1") | {"torch": "2.11.0+cpu", "numpy": "2.2.5", "av": "15.1.0"}
    del there["peft"], there["ray"]
    found = Findings()
    rows = {row["package"]: row for row in compare_packages(found, there, locked)}
    assert rows["numpy"] == {"package": "numpy", "installed": "2.2.5", "locked": "2.2.6"}
    assert [line.split(" ", 1)[0] for line in found.remarks] == ["peft", "numpy"]  # one model family stands on the first
    assert [line.split(" ", 1)[0] for line in found.broken] == ["ray"]


# --- a branch ------------------------------------------------------------------------------------------------------------------


def test_the_plan_of_a_branch_is_a_table_or_json():
    done = call("doctor", "--branch", "world_model:jepa", "--preset", "real")
    assert (done.code, done.err) == (0, ""), done
    for word in ("preset real", "325,971,328", "trunk.layers.{0..11}.self_attn.in_proj_{weight,bias}", "Activations", "assumed:"):
        assert word in done.out, word
    code, found = told("-b", "world_model:jepa")
    assert code == 0 and found["branch"]["preset"] == "tiny" and set(found) == {"branch", "broken", "remarks"}
    plan, card = found["branch"]["plan"], found["branch"]["card"]
    assert [part["name"] for part in plan["parts"]] == ["encoder", "latent", "hands"] and card["fit_cpus"] == 1.0
    assert "trunk.layers.1.norm2.bias" in plan["parts"][1]["trained"] and not plan["parts"][0]["trained"]
    assert set(plan["memory_gib"]) == {"ingest", "fit", "predict"} and plan["activations"] == "not planned"


def test_options_change_the_plan():
    narrow, wide = (
        told("-b", "world_model:jepa", f"branch.world_model:jepa.width={width}")[1]["branch"]["plan"]["parts"][1]["parameters"]
        for width in (32, 64)
    )
    assert wide > 2 * narrow


def test_what_has_no_model_says_so():
    done = call("doctor", "-b", "ridge")
    assert done.code == 0 and "no model" in done.out
    assert told("-b", "ridge@policy:act")[1]["branch"]["plan"] is None


WRONG = [
    (("-b", "ridg"), ("ridg", "ridge")),
    (("-b", "policy:act", "--preset", "rael"), ("rael", "real")),
    (("-b", "ridge", "--preset", "real"), ("--preset real", "one size")),
    (("-b", "policy:act", "branch.policy:act.step=3"), ("step", "steps")),
    (("-b", "policy:act", "branch.policy:act=3"), ("branch.policy:act",)),
    (("-b", "policy:act", "branch.mlp.epochs=3"), ("branch.mlp", "policy:act")),
    (("--preset", "real"), ("--branch",)),
    (("preset=real",), ("--branch",)),
    (("--address", "127.0.0.1:1"), ("127.0.0.1:1", "nobody answers")),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_wrong_word_is_one_line(words: tuple[str, ...], said: tuple[str, ...]):
    done = call("doctor", *words)
    assert (done.code, done.out) == (2, "") and done.err.count("\n") == 1, done
    assert all(word in done.err for word in said), done.err


# --- a cluster -----------------------------------------------------------------------------------------------------------------


def machine(cpus: float, gpus: float = 0.0, gib: float = 16.0) -> dict[str, float]:
    return {"CPU": cpus, "memory": gib * GIB, **({"GPU": gpus} if gpus else {})}


def test_a_fit_must_find_one_machine():
    card = BranchCard("x", "policy", "x", cpus=2, fit_cpus=4, fit_gpus=1)
    offered = [machine(8), machine(2, gpus=2)]
    assert missing("predict", card, None, offered) == ""
    assert missing("fit", card, None, offered) == "4 CPU(s) and 1 GPU(s) on one machine; the most there are: 8 CPU(s), 2 GPU(s)"
    assert missing("fit", card, None, [*offered, machine(4, gpus=1)]) == ""
    assert missing("fit", card, None, [])


def test_without_a_gpu_a_machine_must_have_the_memory_of_the_plan():
    part = Part("net", 0, {}, int(20 * GIB), {}, int(5 * GIB))
    plan = ModelPlan((part,), {"fit": (("net",),), "predict": (("net",),)})
    card = BranchCard("x", "policy", "x")
    assert missing("fit", card, plan, [machine(2, gib=41), machine(2)]) == ""
    assert missing("predict", card, plan, [machine(2, gib=30)]) == ""
    assert missing("fit", card, plan, [machine(2, gib=30)]).startswith("40.0 GiB of memory on one machine")
    assert missing("fit", card, plan, [machine(2, gib=30), machine(2, gpus=1)]) == ""  # Ray knows no GPU's memory


@contextmanager
def ray_of(cpus: int, memory: int) -> Iterator[str]:
    """A Ray of this process; yields its address."""
    import ray

    ray.init(
        address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, object_store_memory=2**27, _memory=memory
    )
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def test_a_cluster_shows_its_machines_and_what_it_can_hold(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with ray_of(3, memory=2 * GIB) as address:
        code, found = told("--address", address)
        assert code == 0 and set(found) == {"cluster", "broken", "remarks"}
        (node,) = found["cluster"]["nodes"]
        assert node["cpus"] == 3 and node["gpus"] == 0 and node["memory_gib"] == 2.0 and node["host"]
        code, found = told("--address", address, "-b", "world_model:jepa")
        assert code == 0 and found["cluster"]["lacks"] == {"fit": "", "predict": ""}
        done = call("doctor", "--address", address, "-b", "world_model:cosmos", "--preset", "real")
        assert done.code == 1 and "fit: not here: needs 1 CPU(s) and 1 GPU(s) on one machine" in done.out
        assert "broken: world_model:cosmos: predict needs 1 CPU(s) and 1 GPU(s)" in done.out
