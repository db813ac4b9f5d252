"""The embedded demo data set: a small simulator that writes episodes in the Xperience-10M layout.

Everything in an episode (video, depth, camera pose, mocap, contacts, IMU, audio, captions) is computed from one motion, so
every cross-modal task has a true answer. `docs/demo.md` says what makes each task learnable and how to take it away.
"""

from harness.demo.mute import MUTES
from harness.demo.writer import write_demo

__all__ = ["MUTES", "write_demo"]
