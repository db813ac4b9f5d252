"""What a stored episode is filed under: the files it comes from, what the card says of them, and the version of the code."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import fsspec

from harness.card import Card
from harness.decoder import PYAV
from harness.episode import EpisodeRef
from harness.errors import UnreadableEpisode

# Raise it when a reader, the decoder or the layout of a part gives other numbers or refuses more: everything is then stored anew.
STORE_VERSION = 2

# Fields of the card that change what a reader gives. The others (titles, splits, action groups) only say how it is used.
READING = ("format", "reference", "modalities", "ignore", "session_pattern", "xperience", "table")
CHUNK = 16 * 2**20


def card_fingerprint(card: Card) -> str:
    """The options of a card that change what its reader gives, and nothing else, as one line of JSON."""
    fields = asdict(card)
    return json.dumps({name: fields[name] for name in READING}, sort_keys=True)


def episode_key(ref: EpisodeRef, fingerprint: str, *, content_hash: bool = False, decoder: str = PYAV) -> str:
    """The key of one episode: 32 hexadecimal digits.

    Args:
        ref: Where the episode is; its id and locator count too, because several episodes may share a file.
        fingerprint: See `card_fingerprint`.
        content_hash: True hashes the bytes of the files, so that a copy or a moved data set has the same key; False takes
            their path, size and modification time (or entity tag), which is read in no time.
        decoder: Of videos, as `harness.decoder.resolve_decoder` names it: another one gives other colours.

    Raises:
        UnreadableEpisode: A file is missing.
    """
    files = [_content(uri) if content_hash else _identity(uri) for uri in ref.uris]
    about = [STORE_VERSION, ref.id, ref.session, ref.participant, ref.locator, fingerprint, files]
    if decoder != PYAV:
        about.append(decoder)
    return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()


def _identity(uri: str) -> list[Any]:
    """Path, size and what changes when the file does."""
    filesystem, path = fsspec.core.url_to_fs(uri)
    try:
        about = filesystem.info(path)
    except FileNotFoundError as error:
        raise UnreadableEpisode(uri, "no such file; fetch it again") from error
    stamp = next(
        (str(about[name]) for name in ("ETag", "etag", "mtime", "LastModified", "updated", "created") if name in about), ""
    )
    return [uri, about.get("size"), stamp]


def _content(uri: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with fsspec.open(uri, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except FileNotFoundError as error:
        raise UnreadableEpisode(uri, "no such file; fetch it again") from error
    return digest.hexdigest()
