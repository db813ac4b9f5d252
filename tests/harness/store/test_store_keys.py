import os
from dataclasses import replace

import pytest

from harness.card import ActionGroup, Card, XperienceOptions
from harness.episode import EpisodeRef
from harness.errors import UnreadableEpisode
from harness.store.key import card_fingerprint, episode_key


def test_a_key_follows_the_files_and_what_changes_the_reading(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    ref = EpisodeRef("e", (str(path),), 0, locator={"from": 0.0})
    card = Card(format="lerobot")
    key = episode_key(ref, card_fingerprint(card))
    assert episode_key(ref, card_fingerprint(replace(card, title="t", action_groups={"a": ActionGroup(["0"])}))) == key
    other_options = replace(card, xperience=XperienceOptions(world_to_body=False))
    assert episode_key(ref, card_fingerprint(other_options)) != key
    assert episode_key(replace(ref, locator={"from": 1.0}), card_fingerprint(card)) != key
    assert episode_key(replace(ref, id="f"), card_fingerprint(card)) != key
    os.utime(path, (5, 5))
    assert episode_key(ref, card_fingerprint(card)) != key
    with pytest.raises(UnreadableEpisode, match="no such file"):
        episode_key(replace(ref, uris=(str(tmp_path / "b"),)), "")


def test_a_content_key_follows_the_bytes(tmp_path):
    refs = []
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
        refs.append(EpisodeRef("e", (str(tmp_path / name),), 0))
    a, b, c = (episode_key(ref, "", content_hash=True) for ref in refs)
    assert a == b != c
    with pytest.raises(UnreadableEpisode, match="no such file"):
        episode_key(replace(refs[0], uris=(str(tmp_path / "z"),)), "", content_hash=True)
