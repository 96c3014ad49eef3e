"""Inputs that hand over the uploaded file as it is, whatever it holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio.data_classes import ImageData


class Upload(NamedTuple):
    """path: where the file lies on the server. name: what the visitor calls it, for display."""

    path: str
    name: str


class PhotoInput(gr.Image):
    """gr.Image without its own decoding, which fails on odd files before we can say what is wrong.

    Its value is an `Upload` with the file's EXIF and bit depth untouched.
    """

    is_template = True

    def preprocess(self, payload: ImageData | None) -> Upload | None:
        """The uploaded file; pictures that come inside the message are written to the cache."""
        if payload is None:
            return None
        if payload.path is None or (payload.url or "").startswith("data:"):
            path = super().preprocess(payload)
            return None if path is None else Upload(str(path), "webcam")
        return Upload(payload.path, payload.orig_name or Path(payload.path).name)
