"""Mechanisms of the simulator that can be silenced, one at a time, to see the tasks that rely on them fall to the floor."""

from harness.errors import BadInput

MUTES: dict[str, str] = {
    "audio": "white noise of one loudness",
    "video": "every frame of every camera one grey of its own, drawn at random",
    "depth": "every depth map one plane at a random distance",
    "senses": "video, depth and audio together",
    "hands": "the hands do a random walk: nothing foretells where they go, and they touch nothing",
    "body": "one still body",
    "contacts": "rare contacts at random times",
    "camera": "one still camera pose",
    "imu": "gravity and noise, no motion",
    "gaze": "the head looks at one point",
    "order": "the frames of every modality are shuffled in time, all modalities alike",
    "captions": "labels, objects and sentences follow a slow random script of their own",
}


def silenced(mute: str | None) -> frozenset[str]:
    """The signals that a value of `--mute` silences.

    Args:
        mute: A key of `MUTES`, or None for nothing.

    Raises:
        BadInput: The value is not known.
    """
    if mute is None:
        return frozenset()
    if mute not in MUTES:
        raise BadInput(f"--mute {mute}: no such mechanism in the demo data; choose one of {', '.join(MUTES)}")
    return frozenset({"video", "depth", "audio"}) if mute == "senses" else frozenset({mute})
