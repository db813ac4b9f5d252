"""Ingest: read an episode, keep what the run wants of it in the track store, write its targets. Once per episode."""

import errno
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from harness.card import first_line
from harness.episode import Episode, EpisodeRef, Modality
from harness.errors import BadInput, UnreadableEpisode, WorkFailed
from harness.features import descriptors_for
from harness.latents import frames_of, is_missing, keep
from harness.leakage.exact import prints
from harness.leakage.fingerprint import FINGERPRINT, PRINTS, fingerprint, fingerprint_table
from harness.pipeline.plan import Plan
from harness.pipeline.room import encoder_gpus
from harness.record import FINGERPRINT_VERSION, EpisodeRecord
from harness.sensors import lacking, sensors_of
from harness.store import TrackStore
from harness.store.key import card_fingerprint
from harness.store.wants import Wants
from harness.tables import TARGET_SCHEMA, targets_table, write_atomically
from harness.window import make_samples

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Quarantined:
    """An episode that could not be read; the run goes on without it and says so.

    Attributes:
        episode: Id.
        path: File or folder at fault.
        reason: One line.
    """

    episode: str
    path: str
    reason: str


def wants_of(plan: Plan, tracks: list[str]) -> Wants:
    """What the run's tasks and branches together want of an episode with these tracks."""
    needs = [branch.needs(task) for branch, task in plan.answered()]
    tasks = [plan.task(task_id) for task_id in plan.tasks]
    frames = [want for need in needs for want in need.frames] + [want for task in tasks for want in task.target_frames()]
    frames += [frames_of(encoder) for encoder in plan.encoders]
    features = any(need.features for need in needs)
    asked = tuple(dict.fromkeys(pattern for need in needs for pattern in need.tracks))
    read = {name for block in plan.blocks(tracks) for name in block.reads} if features else set()
    read |= {name for task in tasks for name in task.target_tracks()}
    descriptors = tuple(d for d in descriptors_for(tracks) if d.name in read)
    return Wants(frames=tuple(dict.fromkeys(frames)), descriptors=descriptors, tracks=asked)


def key_of(plan: Plan, store: TrackStore, ref: EpisodeRef) -> str:
    """The key of an episode in the run's store; see `harness.store.key.episode_key`."""
    options = plan.config.store
    return store.key(ref, card_fingerprint(plan.dataset.card), content_hash=options.content_hash, decoder=options.decoder)


def ingest_episode(plan: Plan, ref: EpisodeRef) -> EpisodeRecord | Quarantined:
    """The stage: one episode from its files to the track store and its targets file.

    What is there already is not made again: a second run on the same episodes decodes nothing.

    Raises:
        BadInput: The data set as a whole is not what its card or the options say; no other episode would fare better.
        WorkFailed: The machine has no room left: not the episode's fault.
    """
    began = time.monotonic()
    store = TrackStore(plan.store_uri, plan.config.store.max_gib)
    try:
        key = key_of(plan, store, ref)
        stored, decoded = _stored(plan, ref, store, key)
        encoded = [keep(store, key, encoder, plan.spec) for encoder in plan.encoders]
        if any(encoded):
            stored = plan.open_episode(store, key)
        record = describe(plan, stored, key, store.recorded(key))
        record = replace(record, decoded_frames=decoded, seconds=round(time.monotonic() - began, 3))
        write_targets(plan, stored, record)
    except (BadInput, WorkFailed):
        raise
    except UnreadableEpisode as error:
        return quarantine(plan, Quarantined(ref.id, error.path, error.reason))
    except OSError as error:
        if error.errno not in NO_ROOM:
            return quarantine(plan, Quarantined(ref.id, _where(ref), f"unexpected {type(error).__name__}: {first_line(error)}"))
        raise WorkFailed(f"{plan.store_uri} or {plan.out}: {error.strerror}; make room and run again, it goes on") from error
    except MemoryError as error:
        raise WorkFailed(f"out of memory at episode {ref.id}; run again with more, or with fewer CPUs") from error
    except Exception as error:  # a blind spot of a reader or a task must not take the other episodes down
        why = f"unexpected {type(error).__name__}: {first_line(error)}"
        return quarantine(plan, Quarantined(ref.id, _where(ref), why))
    return record


def quarantine(plan: Plan, lost: Quarantined) -> Quarantined:
    """Take the episode out of the run: targets of an earlier run in this folder must not keep it in."""
    plan.targets_file(lost.episode).unlink(missing_ok=True)
    return lost


def _where(ref: EpisodeRef) -> str:
    return ref.uris[0] if ref.uris else ref.id


def _stored(plan: Plan, ref: EpisodeRef, store: TrackStore, key: str) -> tuple[Episode, dict[str, int]]:
    """The stored episode, and the frames that were decoded for it just now."""
    recorded = store.recorded(key)
    if recorded and not store.missing(key, wants_of(plan, list(recorded))):
        return plan.open_episode(store, key), {}
    episode, before = plan.dataset.read(ref), store.decoded_frames(key)
    store.write(episode, wants_of(plan, list(episode.tracks)), key, decoder=plan.config.store.decoder)
    now = {camera: frames - before.get(camera, 0) for camera, frames in store.decoded_frames(key).items()}
    return plan.open_episode(store, key), {camera: frames for camera, frames in now.items() if frames}


def estimated_bytes(plan: Plan, refs: list[EpisodeRef]) -> int | None:
    """What the store would take for these episodes if all were like the first that can be read; None where none can."""
    for ref in refs:
        try:
            episode = plan.dataset.read(ref)
        except UnreadableEpisode:
            continue
        store = TrackStore(plan.store_uri, plan.config.store.max_gib)
        return len(refs) * store.estimate_bytes(episode, wants_of(plan, list(episode.tracks)))
    return None


def is_ingested(plan: Plan, ref: EpisodeRef, store: TrackStore) -> bool:
    """True where the targets of this very recording and everything the run wants of it are there."""
    path = plan.targets_file(ref.id)
    if not path.is_file():
        return False
    record = EpisodeRecord.from_file(path)
    key = key_of(plan, store, ref)
    recorded = store.recorded(key)
    if (
        record.fingerprint != FINGERPRINT_VERSION
        or record.key != key
        or not recorded
        or not set(plan.tasks) <= set(record.considered)
    ):
        return False
    if not {block.name for block in plan.blocks(list(recorded))} <= set(record.features):
        return False
    if store.missing(key, wants_of(plan, list(recorded))):
        return False
    return not any(is_missing(store, key, encoder, plan.spec) for encoder in plan.encoders)


def describe(plan: Plan, episode: Episode, key: str, recorded: dict[str, Modality]) -> EpisodeRecord:
    """The record of a stored episode.

    Args:
        plan: The run.
        episode: As the store gives it.
        key: In the store.
        recorded: Tracks as the reader gave them, stored or not.
    """
    tracks = {name: episode.tracks[name].rate if name in episode.tracks else None for name in recorded}
    blocks = plan.blocks(list(recorded))
    widths = {b.name: len(b.columns(episode)) for b in blocks if b.available(episode)}
    posed = [t for t in plan.tasks if plan.task(t).poses(list(recorded))]
    shapes = {t: list(plan.task(t).shape(episode)) for t in posed if plan.task(t).answer == "vector"}
    absent_tracks = dict(episode.lacking)
    there = {m.value for m in recorded.values()}
    absent = {m: f"modalities=[...] asks for {m} and this episode has none" for m in plan.config.modalities if m not in there}
    if absent:  # counted as lacking, neither trained nor tested on
        absent_tracks, posed, shapes = absent_tracks | absent, [], {}
    return EpisodeRecord(
        episode.id,
        key,
        len(episode.timeline),
        tracks,
        absent_tracks,
        widths,
        shapes,
        posed,
        considered=list(plan.tasks),
        sensors=sensors_of(recorded.values()),
        features=[block.name for block in blocks],
    )


def write_targets(plan: Plan, episode: Episode, record: EpisodeRecord) -> None:
    """Targets of every task the episode poses, its fingerprint and its record, as one file that appears whole or not at all."""
    tables = []
    for task_id in record.tasks:
        task = plan.task(task_id)
        samples = make_samples(task.samples, episode.id, episode.timeline, plan.spec)
        if len(samples):
            targets = replace(task.targets(episode, samples, plan.spec), lacking=lacking(episode, samples, plan.spec))
            tables.append(targets_table(task_id, samples, targets))
    for kind, known in ((FINGERPRINT, fingerprint(episode)), (PRINTS, prints(episode))):
        if known:
            tables.append(fingerprint_table(known, kind))
    empty = TARGET_SCHEMA.empty_table()
    write_atomically(tables or [empty], plan.targets_file(episode.id), record.to_metadata())


def ingest(plan: Plan, refs: list[EpisodeRef], tick: Callable[[str], None]) -> list[EpisodeRecord | Quarantined]:
    """Run the stage over episodes with Ray Data: one read task each, returning references and never frames.

    Args:
        plan: The run.
        refs: Episodes still to do.
        tick: Called with each episode id as it is done.

    Raises:
        BadInput: As `ingest_episode`.
    """
    import ray.data  # noqa: PLC0415
    from ray.data.block import BlockMetadata  # noqa: PLC0415
    from ray.data.datasource import Datasource, ReadTask  # noqa: PLC0415

    from harness.pipeline.cluster import TRIES_AFTER_DEATH  # noqa: PLC0415

    class Episodes(Datasource):
        """One read task per episode, so that a lost worker costs one episode."""

        def estimate_inmemory_data_size(self) -> int | None:
            return 4096 * len(refs)

        def get_read_tasks(
            self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
        ) -> list[ReadTask]:
            return [ReadTask(_reader(shared, ref), _metadata(ref)) for ref in refs]

    def _metadata(ref: EpisodeRef) -> BlockMetadata:
        return BlockMetadata(num_rows=1, size_bytes=4096, input_files=list(ref.uris), exec_stats=None)

    shared = ray.put(plan)  # once, and not with every read task
    results: dict[str, EpisodeRecord | Quarantined] = {}
    options = {"max_retries": TRIES_AFTER_DEATH, "num_gpus": encoder_gpus() if plan.encoders else 0.0}
    # Fewer read tasks than Ray's minimum would be split into many empty blocks.
    for row in ray.data.read_datasource(Episodes(), override_num_blocks=len(refs), ray_remote_args=options).iter_rows():
        if row["kind"] in _ENDS:
            raise _ENDS[row["kind"]](row["result"])
        body = json.loads(row["result"])
        results[row["episode"]] = EpisodeRecord(**body) if row["kind"] == EpisodeRecord.__name__ else Quarantined(**body)
        tick(row["episode"])
    died = "whoever read it died again and again (out of memory, or a crash in a decoder); try it alone, or fetch it again"
    for ref in [ref for ref in refs if ref.id not in results]:
        results[ref.id] = Quarantined(ref.id, _where(ref), died)
        tick(ref.id)
    return [results[ref.id] for ref in refs]


_ENDS: dict[str, type[Exception]] = {"BadInput": BadInput, "WorkFailed": WorkFailed}


def _reader(plan: Any, ref: EpisodeRef) -> Callable[[], Iterator[pa.Table]]:
    """Args: `plan` is a Ray reference to the plan."""

    def read() -> Iterator[pa.Table]:
        import ray  # noqa: PLC0415

        try:
            result = ingest_episode(ray.get(plan), ref)
            kind, body = type(result).__name__, json.dumps(asdict(result))
        except tuple(_ENDS.values()) as error:
            kind, body = type(error).__name__, str(error)
        yield pa.table({"episode": [ref.id], "kind": [kind], "result": [body]})

    return read
