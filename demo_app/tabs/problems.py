"""Errors that a user can do something about, as a sentence on the screen instead of a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import gradio as gr

from demo_app.actions.dataset_shelf import DatasetActionError
from demo_app.actions.flame_parameters import FlameTabError
from demo_app.actions.options import OptionError
from demo_app.actions.predict_picture import NothingToDoError
from demo_app.inference.export import ExportError
from demo_app.inference.images import ImageError
from demo_app.inference.video_reader import VideoError
from models.flame.flame_files import FlameFileError
from models.flame.open_head import HeadAssetsError
from models.geometry.cameras import CameraError
from models.trg.checkpoints import CheckpointError
from models.weights import UnknownModelError
from viewer.datasets.source import DatasetError
from viewer.index.schema import AnnotationIndexError

P = ParamSpec("P")
R = TypeVar("R")

EXPLAINED = (
    CameraError,
    CheckpointError,
    DatasetActionError,
    DatasetError,
    ExportError,
    FlameFileError,
    FlameTabError,
    HeadAssetsError,
    ImageError,
    AnnotationIndexError,
    NothingToDoError,
    OptionError,
    UnknownModelError,
    VideoError,
)
"""Their messages are whole sentences that say what to do."""


@contextmanager
def explaining() -> Iterator[None]:
    """Turn the errors in `EXPLAINED`, and a full or broken disk, into Gradio's message box."""
    try:
        yield
    except EXPLAINED as error:
        raise gr.Error(str(error), duration=12, print_exception=False) from error
    except OSError as error:
        text = f"The result could not be written ({error.strerror}): check the space on the disk."
        raise gr.Error(text, duration=12, print_exception=False) from error


def explained(handler: Callable[P, R]) -> Callable[P, R]:
    """A handler whose errors are `explaining`."""

    @wraps(handler)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with explaining():
            return handler(*args, **kwargs)

    return wrapper
