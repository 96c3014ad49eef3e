"""One row for each sample of a protocol: what is true, what the network says, how far apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from demo_app.evaluation.columns import Column, Poses, single_pass, two_passes
from demo_app.evaluation.model_file import ModelFile
from demo_app.evaluation.protocol_faces import (
    AflwSource,
    ArkitSource,
    BiwiSource,
    FaceLostError,
    FaceSource,
    LabelledFace,
    SyntheticSource,
    box_path_of,
)
from demo_app.inference.prefetch import prefetched
from models.geometry.rotations import geodesic_deg
from models.threads import one_thread
from models.training.metrics import in_camera_mm, mesh_distance_mm
from models.weights import load_pose_model
from viewer.datasets.biwi import Biwi
from viewer.datasets.protocols import PROTOCOLS
from viewer.datasets.registry import open_dataset
from viewer.datasets.sample import UnreadablePictureError, decode_rgb
from viewer.datasets.source import AnnotatedDataset, DatasetError

Array = np.ndarray
Look = Callable[[Sequence[str]], pa.Table]
"""Keys to their rows, in their order."""

READ_AHEAD = 4

_MATRIX, _POINT = pa.list_(pa.float64(), 9), pa.list_(pa.float64(), 3)
SAMPLE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("sequence", pa.string()),
        ("group", pa.string()),
        ("lost", pa.string()),
        ("why", pa.string()),
        ("data_sha256", pa.string()),
        ("R_true", _MATRIX),
        ("t_true_mm", _POINT),
        ("R_found", _MATRIX),
        ("t_found_mm", _POINT),
        ("ge_deg", pa.float64()),
        ("add_mm", pa.float64()),
        ("dense_mm", pa.float64()),
        ("t_found_other_origin_mm", _POINT),
        ("add_other_origin_mm", pa.float64()),
    ]
)
"""lost: why a sample has no answer, in a few words; why: the whole sentence. Poses are in the
label's head frame, row by row; *_other_origin_mm: with the label's origin where it really is."""


@dataclass(frozen=True)
class ProtocolWork:
    """All that a worker needs to look at samples; small, and can be sent anywhere.

    passes: 1: the network sees the protocol's crop. 2: it looks again at the crop that it asks for.
    """

    protocol: str
    root: Path
    box_file: Path | None
    model: ModelFile
    device: str
    passes: int

    @property
    def schema(self) -> pa.Schema:
        return SAMPLE_SCHEMA

    def dataset(self) -> AnnotatedDataset:
        """Raises: DatasetError."""
        name = PROTOCOLS[self.protocol].dataset
        return Biwi(self.root, self.box_file) if name == "biwi" else open_dataset(name, self.root)

    def source(self) -> FaceSource:
        """Raises: DatasetError."""
        dataset, protocol = self.dataset(), PROTOCOLS[self.protocol]
        if protocol.dataset == "biwi":
            return BiwiSource(dataset, protocol, box_path_of(dataset, self.box_file))
        if protocol.dataset == "arkitface":
            return ArkitSource(dataset)
        if protocol.dataset == "aflw2000":
            return AflwSource(dataset, self.model.is_released_kind)
        return SyntheticSource(dataset)

    def open(self) -> Look:
        """Loads the network. Raises: CheckpointError, DatasetError, ValueError."""
        model = load_pose_model(self.model.name, self.device, self.model.path)
        column = single_pass(model) if self.passes == 1 else two_passes(model)
        source = self.source()

        def look(keys: Sequence[str]) -> pa.Table:
            read = (_read(source, key, self.root) for key in keys)
            with closing(prefetched(read, READ_AHEAD)) as faces, one_thread():
                rows = [face if isinstance(face, dict) else _row(face, column) for face in faces]
            return pa.Table.from_pylist(rows, SAMPLE_SCHEMA)

        return look


@dataclass(frozen=True)
class _Read:
    face: LabelledFace
    image_rgb: Array


Read = Generator["_Read | dict[str, object]", None, None]


def _read(source: FaceSource, key: str, root: Path) -> _Read | dict[str, object]:
    """The head with its picture, or the row of a sample that is lost."""
    try:
        face = source.face(key)
        image_rgb = decode_rgb(face.picture, key)
    except FaceLostError as error:
        return _lost(key, str(error), str(error))
    except UnreadablePictureError as error:
        return _lost(key, "The picture cannot be read.", str(error).replace(str(root), ""))
    except DatasetError as error:
        return _lost(key, "The label cannot be used.", str(error).replace(str(root), ""))
    if (image_rgb.shape[1], image_rgb.shape[0]) != tuple(face.camera.size_wh_px):
        return _lost(key, "The picture has another size than its camera.", "")
    if not np.isfinite(face.R_true).all():
        return _lost(key, "The label cannot be used.", "Its rotation is not finite.")
    return _Read(face, image_rgb)


def _lost(key: str, reason: str, why: str) -> dict[str, object]:
    digest = hashlib.sha256(f"lost: {reason}".encode()).hexdigest()
    return {"key": key, "lost": reason, "why": why or reason, "data_sha256": digest}


def _row(read: _Read, column: Column) -> dict[str, object]:
    face = read.face
    found = column(read.image_rgb, face.camera, face.ray_box[None])
    R_cam_from_head, t_head_mm = found.R_cam_from_head[0], found.t_cam_from_head_mm[0]
    R_found = face.R_seen_from_cam @ R_cam_from_head @ face.R_head_from_label
    row: dict[str, object] = {
        "key": face.key,
        "sequence": face.sequence,
        "group": face.group,
        "lost": "",
        "why": "",
        "data_sha256": _digest(face),
        "R_true": face.R_true.ravel().tolist(),
        "R_found": R_found.ravel().tolist(),
        "ge_deg": float(geodesic_deg(R_found, face.R_true)),
    }
    if face.t_true_mm is None:
        return row
    row |= {
        "t_true_mm": face.t_true_mm.tolist(),
        "t_found_mm": t_head_mm.tolist(),
        "add_mm": _add_mm(face, R_found, t_head_mm),
        "dense_mm": _dense_mm(face, found),
    }
    if face.other_origin_head_mm is not None:
        other_mm = t_head_mm + R_cam_from_head @ face.other_origin_head_mm
        row["t_found_other_origin_mm"] = other_mm.tolist()
        row["add_other_origin_mm"] = _add_mm(face, R_found, other_mm)
    return row


def _add_mm(face: LabelledFace, R: Float[Array, "3 3"], t_mm: Float[Array, "3"]) -> float | None:
    if face.vertices_mm is None:
        return None
    vertices = face.vertices_mm[None]
    true = in_camera_mm(face.R_true[None], face.t_true_mm[None], vertices)
    return float(mesh_distance_mm(in_camera_mm(R[None], t_mm[None], vertices), true)[0])


def _dense_mm(face: LabelledFace, found: Poses) -> float | None:
    """Of the meshes in the label's head frame; None where they are not of one topology."""
    if face.vertices_mm is None or found.vertices_head_mm.shape[1:] != face.vertices_mm.shape:
        return None
    in_label_frame = found.vertices_head_mm @ face.R_head_from_label
    return float(mesh_distance_mm(in_label_frame, face.vertices_mm[None])[0])


def _digest(face: LabelledFace) -> str:
    """Of the picture's bytes and every number of the label that counts."""
    digest = hashlib.sha256(face.picture)
    for values in (face.R_true, face.t_true_mm, face.vertices_mm, face.ray_box):
        digest.update(b"" if values is None else np.ascontiguousarray(values, "<f8").tobytes())
    digest.update(np.ascontiguousarray(face.camera.K_image_from_cam, "<f8").tobytes())
    return digest.hexdigest()
