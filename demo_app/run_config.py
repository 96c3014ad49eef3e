"""RunConfig: everything that a training run was asked to do; one JSON file, strictly read."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from models.training.config import TrainConfig
from viewer.datasets.augment_config import AugmentConfig, TrgAugmentConfig

Recipe = Literal["trg-mini", "trg", "trg-multi"]
DatasetName = Literal["synthetic", "arkitface", "300w-lp", "biwi", "mica"]

RECIPES: tuple[Recipe, ...] = typing.get_args(Recipe)
FACEMESH, IMAGENET, RANDOM = "facemesh", "imagenet", "random"
CONFIG_FILE = "config.json"
MAX_FILE_BYTES = 1_000_000


class RunConfigError(ValueError):
    """A configuration that cannot be read or meant; the message says what and where."""


@dataclass(frozen=True)
class DataPart:
    """One data set of a mix."""

    dataset: DatasetName
    """Which data set."""
    root: Path
    """Its folder; of synthetic heads the one that `synthesize` made."""
    weight: float = 1.0
    """Multiplies the share that the data set has by its size."""
    split: str = "train"
    """Its part, such as train, validation or test."""
    limit: int | None = None
    """Only the first so many samples."""

    def __post_init__(self) -> None:
        """Raises: ValueError."""
        if not self.weight > 0:
            raise ValueError(f"The weight of {self.dataset} must be positive, got {self.weight}.")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"The limit of {self.dataset} must be at least 1, got {self.limit}.")


@dataclass(frozen=True)
class RunConfig:
    """One training run."""

    recipe: Recipe = "trg-mini"
    """What is trained, and how."""
    data: tuple[DataPart, ...] = ()
    """What it learns from."""
    validation: tuple[DataPart, ...] = ()
    """What chooses the best checkpoint; never a test set. Empty: the validation part of the first
    data set, if it has one."""
    start: str = FACEMESH
    """facemesh or imagenet: a trained backbone, the rest new; random: all new; or the path of
    weights (.safetensors, state_dict.bin) to train further."""
    start_share: float = 0.0
    """trg-mini: what the weights that training started from count in the mean that is kept in the
    end, 0 to 1."""
    backbone_file: Path | None = None
    """ResNet-18 weights in torchvision's layout, for the start imagenet."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Steps, learning rate and the like."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How training pictures of trg-mini are varied."""
    trg_augment: TrgAugmentConfig = field(default_factory=TrgAugmentConfig)
    """How those of trg and trg-multi are."""
    workers: int = 1
    """Processes that prepare pictures, for each process that trains; 0: that one itself."""
    seed: int = 0
    """Of the order of the data and of its variations; train.seed is that of weights and dropout."""

    def __post_init__(self) -> None:
        """Raises: ValueError."""
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}.")
        if not 0.0 <= self.start_share <= 1.0:
            raise ValueError(f"start_share must be 0 to 1, got {self.start_share}.")

    def to_json(self) -> str:
        """Indented JSON with every field, for `from_json`."""
        return json.dumps(_plain(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Inverse of `to_json`; absent fields take their recipe's defaults.

        Raises: RunConfigError naming the field that is unknown or does not fit.
        """
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise RunConfigError(f"The configuration is no JSON: {error}.") from error
        if not isinstance(values, dict):
            raise RunConfigError("The configuration is no JSON object.")
        recipe = values.get("recipe", "trg-mini")
        if recipe not in RECIPES:
            raise RunConfigError(f"recipe must be one of {', '.join(RECIPES)}, got {recipe!r}.")
        start, train = default_config(recipe), values.get("train")
        if isinstance(train, dict) and "steps" in train and "epochs" not in train:
            start = replace(start, train=replace(start.train, epochs=None))
        return _merged(start, values, "")


def default_config(recipe: Recipe) -> RunConfig:
    """A recipe's own defaults, without data. Those of trg and trg-multi are the published ones."""
    if recipe == "trg-mini":
        return RunConfig(recipe=recipe, train=TrainConfig(freeze_stem=True))
    released = TrainConfig(
        epochs=30,
        batch_size=128,
        lr=1e-4,
        schedule="drop",
        lr_drop_at=20 / 30,
        lr_drop_factor=0.1,
        warmup_steps=0,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        backbone_lr_factor=1.0,
        ema_decay=0.0,
        gradient_clip=None,
        device="auto",
    )
    return RunConfig(recipe=recipe, start=IMAGENET, train=released, workers=2)


def read_run_config(path: Path | str) -> RunConfig:
    """Raises: RunConfigError for a file that is absent, too large or no configuration."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RunConfigError(f"{path} is too large for a configuration.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunConfigError(f"{path} cannot be read ({type(error).__name__}).") from error
    try:
        return RunConfig.from_json(text)
    except RunConfigError as error:
        raise RunConfigError(f"{path}: {error}") from error


def write_run_config(path: Path | str, config: RunConfig) -> None:
    """Whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(config.to_json(), encoding="utf-8")
    partial.replace(path)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _merged(record: Any, values: object, where: str) -> Any:
    """The record with the fields that are given; nested records are merged too."""
    if not isinstance(values, dict):
        raise RunConfigError(f"{where or 'The configuration'} must be an object, got {values!r}.")
    _check_names(type(record), values, where)
    hints = typing.get_type_hints(type(record))
    changes = {}
    for name, value in values.items():
        place, old = f"{where}{name}", getattr(record, name)
        nested = dataclasses.is_dataclass(old)
        changes[name] = (
            _merged(old, value, f"{place}.") if nested else _typed(hints[name], value, place)
        )
    try:
        return replace(record, **changes)
    except ValueError as error:
        raise RunConfigError(f"{where}{error}") from error


def _check_names(kind: type, values: dict[str, object], where: str) -> None:
    unknown = sorted(set(values) - {f.name for f in dataclasses.fields(kind)})
    if unknown:
        raise RunConfigError(f"Unknown field {where}{unknown[0]}.")


def _typed(hint: Any, value: object, place: str) -> Any:
    """The value as the annotation wants it. Raises: RunConfigError."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in options and not isinstance(value, bool):
            return value
        raise RunConfigError(f"{place} must be one of {', '.join(options)}, got {value!r}.")
    if origin in (types.UnionType, typing.Union):
        (inner,) = (option for option in options if option is not type(None))
        return None if value is None else _typed(inner, value, place)
    if origin is tuple:
        return _typed_tuple(options, value, place)
    if dataclasses.is_dataclass(hint):
        return _typed_record(hint, value, place)
    if hint is Path and isinstance(value, str) and value:
        return Path(value)
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is hint:
        return value
    raise RunConfigError(f"{place} must be {_NAMES.get(hint, hint)}, got {value!r}.")


_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "a path",
}


def _typed_tuple(options: tuple[Any, ...], value: object, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise RunConfigError(f"{place} must be a list, got {value!r}.")
    any_length = len(options) == 2 and options[1] is Ellipsis
    if not any_length and len(value) != len(options):
        raise RunConfigError(f"{place} must have {len(options)} entries, got {len(value)}.")
    hints = [options[0]] * len(value) if any_length else options
    return tuple(
        _typed(hint, item, f"{place}[{i}]")
        for i, (hint, item) in enumerate(zip(hints, value, strict=True))
    )


def _typed_record(kind: Any, value: object, place: str) -> Any:
    """A record all of whose required fields must be given."""
    if not isinstance(value, dict):
        raise RunConfigError(f"{place} must be an object, got {value!r}.")
    _check_names(kind, value, f"{place}.")
    hints = typing.get_type_hints(kind)
    needed = {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(needed - set(value))
    if missing:
        raise RunConfigError(f"{place} lacks {missing[0]}.")
    values = {name: _typed(hints[name], item, f"{place}.{name}") for name, item in value.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise RunConfigError(f"{place}: {error}") from error
