"""The seated person: 52 SMPL-H keypoints in the world, their rotations and the contacts of the wrists."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from harness.demo.hand import FINGER_JOINTS, MANO_FINGERS, HandPose
from harness.demo.motion import Motion
from harness.demo.script import CHORES, Session
from harness.episode import FloatArray

PARENTS = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19])
"""Parent of each of SMPL's 22 body joints."""
_LEFT_WRIST = 20
_CONTACT_METRES = 0.025

# Standing with the arms out: direction of the bone from each joint to its child, for leaves of the bone that ends in them.
_DOWN, _UP, _FORE, _LEFTWARD, _RIGHTWARD = (0, 0, -1), (0, 0, 1), (0, 1, 0), (-1, 0, 0), (1, 0, 0)
_CHILD = np.array([3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 7, 8, 15, 16, 17, 12, 18, 19, 20, 21, 18, 19])
_LEAVES = np.array([10, 11, 15, 20, 21])
_TRUNK = (_UP, _DOWN, _DOWN, _UP, _DOWN, _DOWN, _UP, _FORE, _FORE, _UP, _FORE, _FORE)
_REST = np.array([*_TRUNK, _UP, _LEFTWARD, _RIGHTWARD, _UP, *(_LEFTWARD, _RIGHTWARD) * 3], float)


@dataclass(frozen=True, eq=False)
class Body:
    """The person over T times.

    Attributes:
        keypoints: (T, 52, 3) world metres: 22 body joints, 15 of the left hand, 15 of the right hand.
        quaternions: (T, 21, 4) rotations of joints 1..21 in their parents' frames, wxyz.
        contacts: (T, 21) 0..1 for joints 1..21; only the wrists touch anything.
    """

    keypoints: FloatArray
    quaternions: FloatArray
    contacts: FloatArray


def wxyz(rotation: Rotation) -> FloatArray:
    """Unit quaternions, scalar first and not negative."""
    quaternion: FloatArray = rotation.as_quat(canonical=True)[..., [3, 0, 1, 2]]
    return quaternion


def pose_body(motion: Motion, hands: tuple[HandPose, HandPose], session: Session) -> Body:
    """The body that goes with the motion of head and hands."""
    trunk = _trunk(motion, session.size)
    joints = np.zeros((len(motion.times), 22, 3))
    for number, place in trunk.items():
        joints[:, number] = place
    for side, hand in enumerate(hands):
        wrist, shoulder = hand.joints[:, 0], joints[:, 16 + side]
        middle, reach = (wrist + shoulder) / 2, np.linalg.norm(wrist - shoulder, axis=1)
        drop = np.sqrt(np.maximum((0.29 * session.size) ** 2 - (reach / 2) ** 2, 0.03**2))
        outward = np.array([-0.5 if side == 0 else 0.5, -0.2, -0.84])
        joints[:, 18 + side] = middle + drop[:, None] * outward
        joints[:, _LEFT_WRIST + side] = wrist
    fingers = [hand.joints[:, FINGER_JOINTS[list(MANO_FINGERS), :3].reshape(-1)] for hand in hands]
    keypoints = np.concatenate([joints, *fingers], axis=1)
    return Body(keypoints, _local_rotations(joints), touching(motion, session))


def _trunk(motion: Motion, size: float) -> dict[int, FloatArray]:
    """Everything but the arms. The pelvis slides forward and down while the feet stay where they are."""
    head = motion.head - motion.turn @ np.array([0.08, 0.0, 0.10])
    slide, lean = motion.slide[:, None], motion.lean[:, None]
    pelvis = np.array([0.0, -0.22, -1.25]) + slide * np.array([0.0, 0.10, -0.03])
    neck = head + np.array([0.0, -0.03, -0.08]) * size
    out: dict[int, FloatArray] = {0: pelvis, 12: neck, 15: head}
    for share, number in ((0.2, 3), (0.45, 6), (0.7, 9)):
        bow = 0.04 * np.sin(np.pi * share) * (lean - slide) * np.array([0.0, 1.0, 0.0])
        out[number] = pelvis + share * (neck - pelvis) + bow
    for side, sign in ((0, -1.0), (1, 1.0)):
        hip = pelvis + np.array([sign * 0.09, 0.0, -0.04]) * size
        ankle = np.array([sign * 0.14, 0.30, -1.66])
        knee = (hip + ankle) / 2 + np.array([sign * 0.02, 0.17, 0.22]) * size
        out[1 + side], out[4 + side], out[7 + side] = hip, knee, np.broadcast_to(ankle, hip.shape)
        out[10 + side] = np.broadcast_to(ankle + np.array([0.0, 0.13, -0.06]), hip.shape)
        collar = neck + np.array([sign * 0.07, -0.01, -0.06]) * size
        out[13 + side] = collar
        out[16 + side] = collar + np.array([sign * 0.11, -0.01, -0.03]) * size
    return out


def _local_rotations(joints: FloatArray) -> FloatArray:
    """(T, 21, 4): each bone by the shortest turn from its rest direction, seen from its parent."""
    bones = joints[:, _CHILD] - joints
    bones[:, _LEAVES] = joints[:, _LEAVES] - joints[:, PARENTS[_LEAVES]]
    bones /= np.linalg.norm(bones, axis=2, keepdims=True)
    axis = np.cross(_REST, bones)
    sine = np.linalg.norm(axis, axis=2, keepdims=True)
    angle = np.arctan2(sine, (_REST * bones).sum(axis=2, keepdims=True))
    turns = Rotation.from_rotvec((axis / np.maximum(sine, 1e-9) * angle).reshape(-1, 3)).as_matrix()
    turns = turns.reshape(*joints.shape[:2], 3, 3)
    local = turns[:, PARENTS[1:]].transpose(0, 1, 3, 2) @ turns[:, 1:]
    return wxyz(Rotation.from_matrix(local.reshape(-1, 3, 3))).reshape(len(joints), 21, 4)


def tool_places(motion: Motion, session: Session) -> FloatArray:
    """(4, T, 3) where the tool of each chore is: at home, or in the hand that holds it."""
    home = np.array([session.homes[chore.tool] for chore in CHORES])[:, None]
    palm = motion.palm[[chore.hand for chore in CHORES]]
    return np.where(motion.holds[..., None], palm, home)


def touching(motion: Motion, session: Session) -> FloatArray:
    """(T, 21) contact of joints 1..21, from the distance between palm and tool: 1 at the tool, 0 from 2.5 cm on."""
    contacts = np.zeros((len(motion.times), 21))
    gap = np.linalg.norm(motion.palm[[c.hand for c in CHORES]] - tool_places(motion, session), axis=2)
    gap[[number not in session.chores for number in range(len(CHORES))]] = np.inf
    near = np.clip(1 - gap / _CONTACT_METRES, 0.0, 1.0)
    for number, chore in enumerate(CHORES):
        column = contacts[:, _LEFT_WRIST + chore.hand - 1]
        np.maximum(column, near[number], out=column)
    return contacts
