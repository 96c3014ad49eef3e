"""Fields of configuration records with their sentences, for forms: the source is the one truth."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from demo_app.run_config import RunConfig

TITLES = {"lr": "learning rate"}
FieldKind = Literal["whole", "number", "text", "switch", "choice", "list", "path"]


@dataclass(frozen=True)
class FormField:
    """path: as in the JSON, such as "train.lr". may_be_empty: empty stands for None."""

    path: str
    kind: FieldKind
    sentence: str
    options: tuple[str, ...] = ()
    may_be_empty: bool = False

    @property
    def title(self) -> str:
        """ "lr drop at" of "train.lr_drop_at"."""
        name = self.path.rsplit(".", 1)[-1]
        return TITLES.get(name, name.replace("_", " "))


@lru_cache
def sentences_of(record: type) -> dict[str, str]:
    """What stands under each field in the source of a dataclass."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(record))).body
    found = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        is_field = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if is_field and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[node.target.id] = " ".join(str(after.value.value).replace("`", "").split())
    return found


@lru_cache
def config_fields() -> dict[str, FormField]:
    """Every field of RunConfig and of the records in it, but the lists of data sets."""
    return {field.path: field for field in _fields(RunConfig, "")}


def _fields(record: type, place: str) -> Iterator[FormField]:
    hints, sentences = typing.get_type_hints(record), sentences_of(record)
    for field in dataclasses.fields(record):
        hint, path = hints[field.name], f"{place}{field.name}"
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{path}.")
        elif path not in ("data", "validation"):
            yield _field(path, hint, sentences.get(field.name, ""))


def _field(path: str, hint: Any, sentence: str) -> FormField:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (option for option in options if option is not type(None))
        return dataclasses.replace(_field(path, inner, sentence), may_be_empty=True)
    if origin is Literal:
        return FormField(path, "choice", sentence, tuple(map(str, options)))
    kinds: dict[Any, FieldKind] = {int: "whole", float: "number", bool: "switch", Path: "path"}
    return FormField(path, "list" if origin is tuple else kinds.get(hint, "text"), sentence)
