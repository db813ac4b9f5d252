"""Which decoder turns videos into frames: an option, part of every content key, the same on every machine of a run."""

import functools
import platform

from harness.card import first_line, suggest
from harness.errors import BadInput

PYAV, TORCHCODEC, AUTO = "pyav", "torchcodec", "auto"
MAJORS = (4, 5, 6, 7, 8)  # of FFmpeg, that torchcodec can load
RESOLVED = {f"{TORCHCODEC}-ffmpeg{major}": major for major in MAJORS}


def resolve_decoder(name: str) -> str:
    """What decodes on this machine: `pyav`, or torchcodec with the FFmpeg that it loads, e.g. `torchcodec-ffmpeg5`.

    Args:
        name: `pyav`, `torchcodec`, `auto` (torchcodec where it loads, else pyav), or a resolved name.

    Raises:
        BadInput: No such decoder, torchcodec cannot be loaded here, or it loads another FFmpeg than the resolved name says.
    """
    known = [PYAV, TORCHCODEC, AUTO]
    if name not in (*known, *RESOLVED):
        raise BadInput(f"store.decoder={name!r} is not known{suggest(name, known)}; give {', '.join(known)}")
    if name == PYAV:
        return PYAV
    major, why = _loaded()
    if why and name == AUTO:
        return PYAV
    where = f"store.decoder={name}: on {platform.node()}"
    if why:
        fix = f"install torchcodec and the shared libraries of FFmpeg {MAJORS[0]} to {MAJORS[-1]} there"
        raise BadInput(f"{where} torchcodec cannot be loaded ({why}); {fix}, or give store.decoder={PYAV}")
    if RESOLVED.get(name, major) != major:
        raise BadInput(f"{where} torchcodec loads FFmpeg {major}; install the same on all machines, or give store.decoder={PYAV}")
    return f"{TORCHCODEC}-ffmpeg{major}"


@functools.cache
def _loaded() -> tuple[int, str]:
    """The FFmpeg that torchcodec loads, or 0 and why it does not; it brings torch, so it is imported only when asked for."""
    try:
        import torchcodec  # noqa: PLC0415
    except (ImportError, RuntimeError, OSError) as error:
        return 0, first_line(error).rstrip(".: ")
    return int(torchcodec.ffmpeg_major_version), ""
