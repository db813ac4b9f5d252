"""The track store: what ingest decoded, resized and derived, by content key."""

from harness.store.track_store import TrackStore
from harness.store.wants import Wants

__all__ = ["TrackStore", "Wants"]
