"""The options of a run: one structured config, from defaults, a YAML file and `key=value` words."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from harness.card import TableOptions, XperienceOptions, first_line, suggest
from harness.decoder import PYAV, resolve_decoder
from harness.errors import BadInput
from harness.splits import SplitConfig
from harness.window import WindowSpec


@dataclass
class WindowConfig:
    """How episodes are cut into windows; see `harness.window.WindowSpec`."""

    length: int = 20
    stride: int = 5
    context: int | None = None
    max_per_episode: int | None = None
    resampling: str = "hold"

    def spec(self) -> WindowSpec:
        """The window spec.

        Raises:
            BadInput: A length, stride or resampling that makes no window.
        """
        for name in ("length", "stride"):
            if getattr(self, name) < 1:
                raise BadInput(f"windows.{name}={getattr(self, name)}: give at least 1")
        if self.context is not None and self.context < self.length:
            raise BadInput(
                f"windows.context={self.context}: it includes the window, so give at least windows.length={self.length}"
            )
        if self.resampling not in ("nearest", "hold", "linear"):
            known = ["nearest", "hold", "linear"]
            raise BadInput(f"windows.resampling={self.resampling!r} is not known{suggest(self.resampling, known)}")
        return WindowSpec(self.length, self.stride, self.context, self.max_per_episode, self.resampling)  # type: ignore[arg-type]


@dataclass
class LimitConfig:
    """A smaller run for a first look; any limit lowers the evidence to `smoke`.

    Attributes:
        episodes: At most so many episodes per role and fold.
        windows: At most so many windows per episode.
    """

    episodes: int | None = None
    windows: int | None = None


@dataclass
class StoreConfig:
    """The track store.

    Attributes:
        uri: Folder or fsspec URI; null = `$ESPALIER_HOME/store`.
        max_gib: Size of the node-local cache of a remote store; least recently used episodes go first. Null = no bound.
        content_hash: True keys episodes by the bytes of their files instead of size and time.
        decoder: Of videos: `pyav`, `torchcodec`, or `auto`, which is torchcodec where it loads; see `harness.decoder`.
    """

    uri: str | None = None
    max_gib: float | None = None
    content_hash: bool = False
    decoder: str = PYAV

    def resolved(self) -> "StoreConfig":
        """The same with the decoder that is on this machine, for all machines of a run.

        Raises:
            BadInput: No such decoder, or it cannot be loaded here.
        """
        return replace(self, decoder=resolve_decoder(self.decoder))


@dataclass
class RunConfig:
    """Everything `espalier run` can be told with `key=value`.

    Attributes:
        windows: Windows.
        split: Which episodes train, validate and test.
        limit: A smaller run.
        features: Feature blocks: `default`, `published`, block names or shell patterns; `-NAME` takes away again.
        modalities: An episode must have all of these, and window features are of these alone; empty = whatever there is. What a
            continuous future goes on from (the commands before an action chunk) is shown as ever.
        hidden: Modalities that no branch is shown, nor anything made of them; targets and samples stay. The past that a
            continuous future goes on from is hidden too. A task that a branch cannot answer with what is left is N/A for it.
        only: No branch is shown anything but what measures one of these; empty = everything. See `harness.hiding`.
        seeds: Every fitted branch runs once per seed.
        store: The track store.
        table: Columns of a plain table.
        xperience: Overrides of the card's options for the Xperience-10M format.
        threads: Threads per actor; fixed, because the order of a sum may depend on it.
        block_samples: Samples per bundle part: what a kill loses at most, per branch.
        preset: Size of the branches that come in several: `tiny` for two CPU cores, `real` as published.
        encoders: Model folders of frozen encoders that come without weights: `encoders.vjepa2-large=DIR`.
        margins: Metric -> difference that counts as none, in its unit: `margins.mpjpe=0.005`; see `harness.compare.margin_of`.
        branch: Options per branch: `branch.mlp.epochs=80`.
    """

    windows: WindowConfig = field(default_factory=WindowConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    limit: LimitConfig = field(default_factory=LimitConfig)
    features: list[str] = field(default_factory=lambda: ["default"])
    modalities: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    store: StoreConfig = field(default_factory=StoreConfig)
    table: TableOptions = field(default_factory=TableOptions)
    xperience: XperienceOptions = field(default_factory=XperienceOptions)
    threads: int = 1
    block_samples: int = 4096
    preset: str = "tiny"
    encoders: dict[str, str] = field(default_factory=dict)
    margins: dict[str, float] = field(default_factory=dict)
    branch: dict[str, Any] = field(default_factory=dict)


def load_config(file: Path | None, words: list[str]) -> tuple[RunConfig, DictConfig]:
    """The options of a run, see `load_options`."""
    return load_options(RunConfig, file, words)


def load_options[C: RunConfig](
    cls: type[C], file: Path | None, words: list[str], said: dict[str, Any] | None = None
) -> tuple[C, DictConfig]:
    """Defaults, then what was said before, then the file, then the words.

    Args:
        cls: What the options are of.
        file: YAML.
        words: `key=value`.
        said: Options as an earlier command passed them.

    Returns:
        The typed config, and what was passed (without defaults) for the manifest.

    Raises:
        BadInput: An unknown key (with a suggestion), a wrong type, a file that is not YAML.
    """
    passed = OmegaConf.create(said or {})
    assert isinstance(passed, DictConfig)
    try:
        if file is not None:
            if not file.is_file():
                raise BadInput(f"--config {file}: no such file")
            passed = OmegaConf.merge(passed, _loaded(file))  # type: ignore[assignment]
        for word in words:
            key, equals, _ = word.partition("=")
            if not equals or not key:
                raise BadInput(f"{word!r}: give options as key=value, e.g. windows.stride=10")
            passed = OmegaConf.merge(passed, OmegaConf.from_dotlist([quote_ranges(word)]))  # type: ignore[assignment]
        merged = OmegaConf.merge(OmegaConf.structured(cls), passed)
        config = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        raise BadInput(_unknown_key(error, cls)) from error
    except OmegaConfBaseException as error:
        raise BadInput(f"{error.full_key or 'config'}: {first_line(error)}") from error
    except (OSError, TypeError, ValueError, YAMLError) as error:
        raise BadInput(f"config: {first_line(error)}") from error
    assert isinstance(config, cls)
    return config, passed


def _loaded(file: Path) -> Any:
    """A YAML file.

    Raises:
        BadInput: Names the file, and the line where there is one.
    """
    try:
        return OmegaConf.load(file)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise BadInput(f"--config {file}{where}: not YAML ({getattr(error, 'problem', None) or first_line(error)})") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--config {file}: cannot be read ({first_line(error)})") from error


def branch_options[T](cls: type[T], options: dict[str, Any], branch: str, preset: dict[str, Any] | None = None) -> T:
    """A branch's own options as its config class: defaults, then the preset, then what was passed.

    Raises:
        BadInput: An unknown key (with a suggestion) or a wrong type.
    """
    structured = OmegaConf.structured(cls)
    try:
        parsed = OmegaConf.to_object(OmegaConf.merge(structured, preset or {}, options))
    except ConfigKeyError as error:
        raise BadInput(f"unknown option {branch}.{error.key}{suggest(str(error.key), sorted(structured))}") from error
    except OmegaConfBaseException as error:
        raise BadInput(f"{branch}.{error.full_key}: {first_line(error)}") from error
    assert isinstance(parsed, cls)
    return parsed


def quote_ranges(word: str) -> str:
    """`split.train=0-49,52` as a string: YAML would read `0,52` as nothing it knows and `2020-01-01` as a date."""
    key, _, value = word.partition("=")
    plain = value and not value.startswith(("[", "{", '"', "'"))
    return f'{key}="{value}"' if plain and key in ("split.train", "split.validation", "split.test") else word


def known_keys(node: Any = None, prefix: str = "") -> list[str]:
    """Every key of the run config, dotted."""
    node = OmegaConf.structured(RunConfig) if node is None else node
    out = []
    for key, value in node.items():
        path = f"{prefix}{key}"
        out.append(path)
        if isinstance(value, DictConfig):
            out.extend(known_keys(value, f"{path}."))
    return out


def _unknown_key(error: ConfigKeyError, cls: type[RunConfig]) -> str:
    full = str(error.full_key or error.key)
    return f"unknown option {full!r}{suggest(full, known_keys(OmegaConf.structured(cls)))}"
