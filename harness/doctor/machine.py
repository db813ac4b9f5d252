"""This machine: packages, hardware, decoders, and what is registered."""

import re
from collections.abc import Callable
from importlib.metadata import requires
from typing import Any

from harness.branch import branch_names, make_branch
from harness.card import first_line
from harness.decoder import PYAV, TORCHCODEC, resolve_decoder
from harness.doctor.findings import Findings, gib
from harness.encoder import encoder_names, get_encoder
from harness.errors import BadInput
from harness.manifest import PACKAGES, environment, locked_versions


def look_at_machine(found: Findings) -> None:
    """Everything, under `machine`."""
    here = environment()
    found.body["machine"] = body = {
        **{key: here[key] for key in ("python", "platform", "cpus", "memory_gib", "git_sha", "lock_sha256")},
        "gpus": _gpus(found, here["gpus"]),
        "packages": compare_packages(found, here["packages"], locked_versions()),
        "decoders": _decoders(found),
        "branches": _registered(found, "branch", branch_names(), make_branch),
        "encoders": _registered(found, "encoder", encoder_names(), get_encoder),
    }
    if not body["branches"]:
        found.broken.append("no branch can be used: install Espalier itself (make setup)")


def compare_packages(found: Findings, installed: dict[str, str], locked: dict[str, str]) -> list[dict[str, str | None]]:
    """The main packages. Those that every run needs must be there; other versions than the lock's are remarked.

    Args:
        found: Takes the lines.
        installed: Package -> version, as in `environment`.
        locked: As `locked_versions` gives it.
    """
    needed = _needed() if "espalier" in installed else set()
    rows = []
    for name in PACKAGES:
        here, lock = installed.get(name), locked.get(name)
        rows.append({"package": name, "installed": here, "locked": lock})
        if here is None and name in needed:
            found.broken.append(
                f"{name} is not installed and every run needs it; make setup installs what requirements.lock names"
            )
        elif here is None and lock is not None:
            found.remarks.append(f"{name} is not installed (lock: {lock}): branches that stand on it cannot run")
        elif here is not None and lock is not None and _public(here) != _public(lock):
            found.remarks.append(f"{name} is {here} and the lock has {lock}: results may differ from those of the lock")
    return rows


def _public(version: str) -> str:
    """`2.11.0` of `2.11.0+cpu`: the same release, built for other hardware."""
    return version.partition("+")[0]


def _needed() -> set[str]:
    """Packages that Espalier requires without any extra."""
    lines = [line for line in requires("espalier") or [] if "extra ==" not in line]
    return {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in lines}


def _gpus(found: Findings, listed: list[str]) -> list[dict[str, Any]]:
    """What torch can compute on."""
    try:
        import torch  # noqa: PLC0415
    except (ImportError, OSError, RuntimeError) as error:
        found.broken.append(f"torch cannot be imported ({first_line(error)}); make setup installs it")
        return []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if listed and not count:
        found.remarks.append(f"the driver lists {len(listed)} GPU(s) and torch sees none; install a torch built for this driver")
    devices = [torch.cuda.get_device_properties(i) for i in range(count)]
    return [{"name": device.name, "memory_gib": gib(device.total_memory)} for device in devices]


def _decoders(found: Findings) -> dict[str, str]:
    """Decoder -> what it is here, or why it is not."""
    shown = {}
    try:
        import av  # noqa: PLC0415

        shown[PYAV] = f"PyAV {av.__version__}"
    except (ImportError, OSError) as error:
        shown[PYAV] = f"not here: {first_line(error)}"
        found.broken.append(f"PyAV cannot be imported ({first_line(error)}), so no video can be read; make setup installs it")
    try:
        shown[TORCHCODEC] = resolve_decoder(TORCHCODEC)
    except BadInput as error:
        shown[TORCHCODEC] = f"not here: {error}"
    return shown


def _registered(found: Findings, kind: str, names: list[str], make: Callable[[str], Any]) -> list[str]:
    """Those that can be made; the others are broken."""
    good = []
    for name in names:
        try:
            make(name)
        except Exception as error:  # one must not hide the others
            why = first_line(error)
            found.broken.append(why if isinstance(error, BadInput) else f"{kind} {name!r}: {type(error).__name__}: {why}")
        else:
            good.append(name)
    return good
