"""Prepare: decode and encode a data set for a branch that stands on frozen encoders, and say what that costs.

No targets, no split, nothing is fitted: the latents are what a run with the same windows will find in the track store.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.branch import make_branch
from harness.card import first_line
from harness.config import RunConfig
from harness.dataset import Dataset, home
from harness.encoder import get_encoder
from harness.episode import EpisodeRef
from harness.errors import BadInput, UnreadableEpisode, WorkFailed
from harness.latents import frames_of, is_missing, latent_track, opened, stored_name
from harness.pipeline.room import encoder_gpus
from harness.store import TrackStore
from harness.store.frames import frame_bytes
from harness.store.key import card_fingerprint
from harness.store.wants import Wants


@dataclass(frozen=True)
class Order:
    """What to prepare; it travels to every worker.

    Attributes:
        dataset: Where the recordings are.
        config: Windows, store and model folders.
        branch: Branch id.
        encoders: Its frozen encoders.
        store_uri: Absolute.
    """

    dataset: Dataset
    config: RunConfig
    branch: str
    encoders: tuple[str, ...]
    store_uri: str


@dataclass(frozen=True)
class Prepared:
    """What one episode took.

    Attributes:
        episode: Id.
        video_s: Seconds of video of the main camera; 0 where it has none.
        decode_s: Wall seconds of reading, decoding and storing; 0 where the store had the frames.
        encode_s: Wall seconds of encoding, measured anew where the store had the latents.
        clips: Latents.
        latent_bytes: In the store.
        frame_bytes: Of the frames they are made of, in the store.
        lost: Why it could not be read; empty where it could.
    """

    episode: str
    video_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0
    clips: int = 0
    latent_bytes: int = 0
    frame_bytes: int = 0
    lost: str = ""


def make_order(dataset: Dataset, config: RunConfig, branch: str) -> Order:
    """Check a request.

    Raises:
        BadInput: No such branch, it stands on no frozen encoder, or that has no weights or does not fit the windows; or the
            decoder is not on this machine.
    """
    names = make_branch(branch, config.branch.get(branch), config.preset).encoders
    if not names:
        raise BadInput(f"--prepare {branch}: it stands on no frozen encoder, so there is nothing to prepare; leave it out")
    for name in names:
        encoder = get_encoder(name, config.encoders.get(name))
        _ = encoder.fingerprint
        encoder.check_fits(config.windows.spec().length)
    store = TrackStore(config.store.uri or str(home() / "store")).absolute_uri
    return Order(dataset, replace(config, store=config.store.resolved()), branch, names, store)


def prepare_episode(order: Order, ref: EpisodeRef) -> Prepared:
    """The stage: one episode's frames and latents into the track store.

    Raises:
        BadInput: The data set as a whole is not what its card says.
    """
    config, spec = order.config, order.config.windows.spec()
    store = TrackStore(order.store_uri, config.store.max_gib)
    encoders = [get_encoder(name, config.encoders.get(name)) for name in order.encoders]
    wants = Wants(frames=tuple(dict.fromkeys(frames_of(encoder) for encoder in encoders)))
    began = time.monotonic()
    try:
        fingerprint, options = card_fingerprint(order.dataset.card), config.store
        key = store.key(ref, fingerprint, content_hash=options.content_hash, decoder=options.decoder)
        recorded = store.recorded(key)
        absent = not recorded or bool(store.missing(key, wants))
        if absent:
            store.write(order.dataset.read(ref), wants, key, decoder=config.store.decoder)
        decode_s = time.monotonic() - began if absent else 0.0
        episode = opened(store.open(key), (), spec)
        found = Prepared(ref.id, decode_s=decode_s)
        for encoder in encoders:
            frames = episode.tracks.get(frames_of(encoder).pattern)
            if frames is None:
                continue
            assert frames.times is not None
            began = time.monotonic()
            track = latent_track(episode, encoder, spec)
            seconds = time.monotonic() - began
            if is_missing(store, key, encoder, spec):
                store.add(key, [track.renamed(stored_name(encoder, spec))])
            values = track.array()
            found = Prepared(
                ref.id,
                float(frames.times[-1] - frames.times[0]) if len(frames.times) else 0.0,
                decode_s,
                found.encode_s + seconds,
                found.clips + len(values),
                found.latent_bytes + values.nbytes,
                found.frame_bytes + frame_bytes(frames_of(encoder), len(frames.times)),
            )
    except UnreadableEpisode as error:
        return Prepared(ref.id, lost=f"{error.path}: {error.reason}")
    except (BadInput, WorkFailed):
        raise
    except Exception as error:  # one bad recording must not stop the others
        return Prepared(ref.id, lost=f"unexpected {type(error).__name__}: {first_line(error)}")
    return found


def prepare(order: Order, refs: list[EpisodeRef], tick: Callable[[str], None]) -> list[Prepared]:
    """Run the stage over episodes as Ray tasks, within a session.

    Raises:
        BadInput: As `prepare_episode`.
    """
    import ray  # noqa: PLC0415
    from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415

    from harness.pipeline.cluster import TRIES_AFTER_DEATH  # noqa: PLC0415

    shared, remote = ray.put(order), ray.remote(num_gpus=encoder_gpus(), max_retries=TRIES_AFTER_DEATH)(prepare_episode)
    pending, results = {remote.remote(shared, ref): ref for ref in refs}, {}
    while pending:
        done, _ = ray.wait(list(pending), num_returns=1)
        ref = pending.pop(done[0])
        try:
            results[ref.id] = ray.get(done[0])
        except RayTaskError as error:
            if isinstance(error.cause, BadInput | WorkFailed):
                raise error.cause from error
            results[ref.id] = Prepared(ref.id, lost=f"{type(error.cause).__name__}: {first_line(error.cause)}")
        except RayError as error:
            results[ref.id] = Prepared(ref.id, lost=f"its worker died ({type(error).__name__}: {first_line(error)})")
        tick(ref.id)
    return [results[ref.id] for ref in refs]


def report(order: Order, found: list[Prepared]) -> dict[str, Any]:
    """What it costs, as JSON values: seconds of one process per minute of video, bytes per hour of video; null without video."""
    done = [one for one in found if not one.lost]
    minutes = sum(one.video_s for one in done) / 60
    fresh = sum(one.video_s for one in done if one.decode_s) / 60

    def per(total: float, of: float) -> float | None:
        return round(total / of, 3) if of else None

    return {
        "schema": "espalier.prepare/1",
        "branch": order.branch,
        "encoders": {name: get_encoder(name, order.config.encoders.get(name)).fingerprint for name in order.encoders},
        "windows": asdict(order.config.windows.spec()),
        "store": order.store_uri,
        "episodes": len(done),
        "video_minutes": round(minutes, 3),
        "clips": sum(one.clips for one in done),
        "decode_s_per_video_minute": per(sum(one.decode_s for one in done), fresh),
        "encode_s_per_video_minute": per(sum(one.encode_s for one in done), minutes),
        "latent_bytes_per_video_hour": per(60.0 * sum(one.latent_bytes for one in done), minutes),
        "frame_bytes_per_video_hour": per(60.0 * sum(one.frame_bytes for one in done), minutes),
        "without_video": [one.episode for one in done if not one.video_s],
        "quarantined": [{"episode": one.episode, "reason": one.lost} for one in found if one.lost],
    }


def lines(body: dict[str, Any]) -> list[str]:
    """A report as plain lines."""

    def said(value: float | None, unit: str, scale: float = 1.0) -> str:
        return f"not measured ({unit})" if value is None else f"{value / scale:.3g} {unit}"

    return [
        f"{body['branch']}: {body['clips']} latents of {', '.join(body['encoders'])} in {body['store']}",
        f"{body['episodes']} episodes, {body['video_minutes']:.2f} minutes of video, {len(body['without_video'])} without video",
        f"decoding: {said(body['decode_s_per_video_minute'], 's per minute of video')}",
        f"encoding: {said(body['encode_s_per_video_minute'], 's per minute of video')}",
        f"latents: {said(body['latent_bytes_per_video_hour'], 'MiB per hour of video', 2**20)}",
        f"frames: {said(body['frame_bytes_per_video_hour'], 'MiB per hour of video', 2**20)}",
        *(f"quarantined {lost['episode']}: {lost['reason']}" for lost in body["quarantined"]),
    ]
