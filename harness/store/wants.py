"""What a run wants the track store to hold of every episode, and which stored tracks that means for one of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.branch import MAIN, FramesWant
from harness.episode import Modality
from harness.features.base import Descriptor

CAMERA = "video/"
# Too heavy to keep unasked: they go in as descriptors. Everything else is always stored.
HEAVY = (Modality.VIDEO, Modality.DEPTH, Modality.AUDIO)


@dataclass(frozen=True)
class Wants:
    """The union over the branches and feature blocks of a run.

    Attributes:
        frames: Decoded frames, in the sizes and rates asked for.
        descriptors: Derived tracks; those whose tracks an episode does not have are left out of it.
        tracks: Shell patterns over the names of depth and audio tracks to keep as they are, e.g. `audio/*`.
    """

    frames: tuple[FramesWant, ...] = ()
    descriptors: tuple[Descriptor, ...] = ()
    tracks: tuple[str, ...] = ()

    def recorded(self, tracks: Mapping[str, Modality]) -> list[str]:
        """The recorded tracks that are stored as they are.

        Args:
            tracks: Name -> modality of the episode's tracks as read.
        """
        kept = [name for name, modality in tracks.items() if modality not in HEAVY]
        asked = [n for n, m in tracks.items() if m in (Modality.DEPTH, Modality.AUDIO) and matches(n, self.tracks)]
        return kept + asked

    def cameras(self, tracks: Mapping[str, Modality], reference: str) -> Iterator[tuple[str, FramesWant]]:
        """(camera track, want) for every set of frames that the episode can give, each once."""
        seen: set[str] = set()
        videos = sorted(name for name, modality in tracks.items() if modality == Modality.VIDEO)
        main = reference if reference in videos else next(iter(videos), None)
        for want in self.frames:
            for name in tracks:
                camera = name.removeprefix(CAMERA)
                fits = name == main if want.camera == MAIN else name in videos and fnmatchcase(camera, want.camera)
                if fits and want.track(camera) not in seen:
                    seen.add(want.track(camera))
                    yield name, want

    def derived(self, tracks: Mapping[str, Modality]) -> list[Descriptor]:
        """The descriptors that the episode can give."""
        return [d for d in self.descriptors if all(name in tracks for name in d.tracks)]

    def stored(self, tracks: Mapping[str, Modality], reference: str) -> dict[str, int]:
        """Name -> version of everything that these wants store of an episode, its reference track among them."""
        names = dict.fromkeys(self.recorded(tracks), 0) | {reference: 0}
        names |= {want.track(camera.removeprefix(CAMERA)): 0 for camera, want in self.cameras(tracks, reference)}
        return names | {d.name: d.version for d in self.derived(tracks)}


def matches(name: str, patterns: Sequence[str]) -> bool:
    """True where one of the shell patterns fits the name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
