"""What the cameras see: a room, a table and balls (hands, arms and things are made of balls), as images and as depth.

An image is first a map of surface codes; a table per frame turns codes into luma and chroma, so lamp and daylight cost nothing.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.demo.balls import PAINTS, Balls
from harness.demo.camera import DEPTH_SIZE, SIZE, STEREO_LEFT, Camera, to_cameras
from harness.demo.motion import Motion
from harness.demo.script import CHORES, TABLE_HEIGHT, Session
from harness.episode import FloatArray

_FLOOR = -1.75
_TABLE = (-0.62, 0.62, 0.16, 0.95)
_NEAR, _FAR = 0.05, 4.0
"""Metres: nothing is drawn larger than at the first; at the second the walls stand and the depth sensor ends."""
_PLANKS, _TRAYS, _FLOOR_CODE, _WALLS = 0, 8, 10, 11
_BALLS = 15
_CELL, _CELLS, _CORNER = 0.01, 300, (-1.5, -0.8)
_SHADES = 3
_BATCH = 8
_LARGEST = 60
_WHITEST = 0.8
"""The exposure leaves headroom: no surface is ever brighter, whatever the lamp."""


def _disc_tables() -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """For radii 0.._LARGEST: how many pixels a disc has, where its pixels start, and their (du, dv, shade)."""
    pieces, counts = [], [0]
    for radius in range(1, _LARGEST + 1):
        v, u = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        inside = u**2 + v**2 <= (radius + 0.3) ** 2
        u, v = u[inside], v[inside]
        lit = np.hypot(u + 0.35 * radius, v + 0.35 * radius) / radius
        shade = np.where(lit < 0.55, 2, np.where(lit < 1.05, 1, 0)) if radius > 1 else np.ones(len(u), int)
        pieces.append(np.stack([u, v, shade]))
        counts.append(len(u))
    du, dv, shade = np.concatenate(pieces, axis=1).astype(np.int32)
    count = np.array(counts, np.int64)
    return count, np.cumsum(count) - count, du, dv, shade


_COUNT, _FIRST, _DU, _DV, _SHADE = _disc_tables()


def splat(canvas: NDArray, centre: FloatArray, radius: FloatArray, distance: FloatArray, value: NDArray, shaded: bool) -> None:
    """Paint discs onto B images, the far ones first.

    Args:
        canvas: (B, S, S), changed in place.
        centre: (B, P, 2) pixels (u, v); NaN is not painted.
        radius: (B, P) pixels; 0 is not painted.
        distance: (B, P) decides what covers what.
        value: (B, P) what to paint.
        shaded: Add 0..2 to the value from the dark to the lit side.
    """
    batch, points = radius.shape
    size = canvas.shape[1]
    seen = np.isfinite(centre).all(axis=2) & (radius > 0)
    centre = np.where(seen[..., None], np.clip(centre, -1e4, 1e4), -1e4)
    reach: NDArray[np.int64] = np.where(seen, np.clip(np.rint(radius), 1, _LARGEST), 0).astype(np.int64)
    reach[((centre < -reach[..., None]) | (centre > size + reach[..., None])).any(axis=2)] = 0
    pick: NDArray[np.int64] = (np.argsort(-distance, axis=1, kind="stable") + np.arange(batch)[:, None] * points).ravel()
    pick = pick[reach.ravel()[pick] > 0]
    count = _COUNT[reach.ravel()[pick]]
    first = (_FIRST[reach.ravel()[pick]] - (np.cumsum(count) - count)).astype(np.int32)
    pixel = np.repeat(first, count)
    pixel += np.arange(len(pixel), dtype=np.int32)
    corner = np.floor(centre.reshape(-1, 2)[pick]).astype(np.int32)
    u, v = np.repeat(corner[:, 0], count), np.repeat(corner[:, 1], count)
    u += _DU[pixel]
    v += _DV[pixel]
    inside = (u.view(np.uint32) < size) & (v.view(np.uint32) < size)  # negative numbers are large without their sign
    at = np.repeat((pick // points * size).astype(np.int32), count)
    at += v
    at *= size
    at += u
    colour = np.repeat(value.reshape(-1)[pick], count)
    if shaded:
        colour += _SHADE[pixel].astype(colour.dtype)
    canvas.reshape(-1)[at[inside]] = colour[inside]


def _floor_plan(session: Session) -> NDArray[np.uint8]:
    """Surface codes around the table, one per cell of `_CELL` metres: (y, x) from the corner `_CORNER`."""
    x, y = (low + _CELL * (np.arange(_CELLS) + 0.5) for low in _CORNER)
    planks = (np.floor((x + 10) * 7).astype(int) & 3) + 4 * (np.floor((y[:, None] + 10) * 6).astype(int) & 1)
    plan = np.full((_CELLS, _CELLS), _FLOOR_CODE)
    low_x, high_x, low_y, high_y = _TABLE
    on_table = np.outer((y > low_y) & (y < high_y), (x > low_x) & (x < high_x))
    plan[on_table] = planks[on_table]
    left = CHORES[session.chores[2]].tool
    for number, tools in enumerate((("bottle", "spoon"), (left,))):
        spots = np.array([session.homes[tool][:2] for tool in tools])
        low, high = spots.min(axis=0) - 0.09, spots.max(axis=0) + 0.09
        plan[np.outer((y > low[1]) & (y < high[1]), (x > low[0]) & (x < high[0]))] = _TRAYS + number
    return plan.astype(np.uint8)


def _room(rays: FloatArray, centre: FloatArray, turn: FloatArray, plan: NDArray[np.uint8]) -> tuple[NDArray, FloatArray]:
    """Surface codes (B, P) uint8 and distances along the rays (B, P) of table, floor and walls.

    Args:
        rays: (3, P) float32 in the camera frame.
        centre: (B, 3) float32 camera centres, world.
        turn: (B, 3, 3) float32 camera -> world.
        plan: As `_floor_plan` gives it.
    """
    dx, dy, dz = np.moveaxis((turn.reshape(-1, 3) @ rays).reshape(len(turn), 3, -1), 1, 0)
    table = (TABLE_HEIGHT - centre[:, 2:]) / np.minimum(dz, np.float32(-1e-3))
    cells = []
    for direction, axis in ((dx, 0), (dy, 1)):
        cell = np.multiply(direction, table, out=direction)
        cell += centre[:, axis : axis + 1] - np.float32(_CORNER[axis])
        cell *= np.float32(1 / _CELL)
        cells.append(np.clip(cell, 0, _CELLS - 1, out=cell).astype(np.int32))
    code = plan.ravel().take(cells[1] * _CELLS + cells[0])
    floor = table * ((_FLOOR - centre[:, 2:]) / (TABLE_HEIGHT - centre[:, 2:]))  # both planes are level
    bands = (dz > -0.25).view(np.uint8) + (dz > 0.1).view(np.uint8) + (dz > 0.5).view(np.uint8) + np.uint8(_WALLS)
    below = code == _FLOOR_CODE
    code = np.where(below & (floor > _FAR), bands, code)
    return code, np.where(below, np.minimum(floor, np.float32(_FAR)), table)


def _looks(
    camera: Camera, size: int, motion: Motion, balls: Balls, session: Session
) -> Iterator[tuple[slice, NDArray[np.uint8], FloatArray, FloatArray]]:
    """Batches of B frames: which, codes and distances of the room (B, size^2), and balls in the camera frame (B, P, 3)."""
    R, t = to_cameras(camera.T_c_b, motion.head, motion.turn)
    rays, plan = np.ascontiguousarray(camera.rays(size).T, np.float32), _floor_plan(session)
    for start in range(0, len(R), _BATCH):
        part = slice(start, start + _BATCH)
        back = R[part].transpose(0, 2, 1)
        centre = -np.einsum("tij,tj->ti", back, t[part])
        codes, distances = _room(rays, centre.astype(np.float32), back.astype(np.float32), plan)
        yield part, codes, distances, balls.place[part] @ back + t[part, None]


def view(camera: Camera, motion: Motion, balls: Balls, session: Session) -> Iterator[NDArray[np.uint8]]:
    """Surface codes of one camera, (B, SIZE, SIZE) per batch of frames."""
    paint = (_BALLS + _SHADES * balls.paint).astype(np.uint8)
    for part, codes, _, seen in _looks(camera, SIZE // 2, motion, balls, session):
        wide = np.repeat(codes, 2, axis=1).reshape(-1, SIZE // 2, SIZE)
        canvas = np.empty((len(wide), SIZE, SIZE), np.uint8)
        canvas[:, ::2], canvas[:, 1::2] = wide, wide
        distance = np.linalg.norm(seen, axis=2)
        depth = seen[..., 2] if camera.distortion is None else distance
        radius = camera.focal * balls.radius[part] / np.maximum(depth, _NEAR)
        splat(canvas, camera.project(seen), radius, distance, np.broadcast_to(paint, radius.shape), shaded=True)
        yield canvas


def depth_maps(motion: Motion, balls: Balls, session: Session) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Depth along the optical axis of the left stereo camera (T, D, D) in metres, and confidence (T, D, D) in 0..255.

    Confidence falls with distance and at edges.
    """
    out: FloatArray = np.empty((len(motion.times), DEPTH_SIZE, DEPTH_SIZE), np.float32)
    scale = DEPTH_SIZE / SIZE
    for part, _, distances, seen in _looks(STEREO_LEFT, DEPTH_SIZE, motion, balls, session):
        out[part] = distances.reshape(-1, DEPTH_SIZE, DEPTH_SIZE)
        z, size = seen[..., 2], balls.radius[part]
        radius = scale * STEREO_LEFT.focal * size / np.maximum(z, _NEAR)
        # What is seen of a ball lies on average two thirds of its radius before its centre.
        splat(out[part], STEREO_LEFT.project(seen) * scale, radius, z, z - 2 / 3 * size, shaded=False)
    out = np.clip(out, _NEAR, _FAR)
    edge = np.abs(np.diff(out, axis=1, prepend=out[:, :1])) + np.abs(np.diff(out, axis=2, prepend=out[:, :, :1]))
    confidence = 255 * np.exp(-out / _FAR) * (1 - np.clip(2 * edge, 0, 1))
    return out.astype(np.float16), confidence.astype(np.uint8)


def luma_chroma(session: Session, light: FloatArray) -> NDArray[np.uint8]:
    """(T, 3, 256) uint8: Y, U and V of every surface code in every frame (BT.601, limited range).

    Args:
        session: Colours and lamp.
        light: (T,) daylight, 1 = full.
    """
    rgb = np.zeros((256, 3))
    rgb[_PLANKS:_TRAYS] = session.palette["table"] * np.linspace(0.72, 1.2, 8)[[0, 4, 2, 6, 1, 5, 3, 7], None]
    rgb[_TRAYS:_FLOOR_CODE] = session.palette["tray"] * np.array([[0.9], [1.3]])
    rgb[_FLOOR_CODE] = session.palette["floor"]
    rgb[_WALLS:_BALLS] = session.palette["wall"] * np.array([[0.75], [0.85], [1.0], [1.1]])
    for number, paint in enumerate(PAINTS):
        rows = slice(_BALLS + _SHADES * number, _BALLS + _SHADES * (number + 1))
        rgb[rows] = session.palette[paint] * np.array([[0.65], [0.9], [1.15]])
    lit = np.clip(rgb * session.light * light[:, None, None], 0, _WHITEST)
    weights = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    levels: NDArray[np.uint8] = np.rint(lit @ weights.T + np.array([16, 128, 128])).astype(np.uint8)
    return levels.transpose(0, 2, 1)
