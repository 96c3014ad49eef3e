"""The samples with the largest errors as pictures: true axes solid, predicted axes dashed."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pyarrow as pa
from jaxtyping import Float

from demo_app.evaluation.protocol_faces import FaceLostError, FaceSource, LabelledFace
from demo_app.evaluation.summary import Worst
from models.geometry.boxes import xyxy_from_ray_box
from models.geometry.cameras import Camera
from viewer.datasets.sample import UnreadablePictureError, decode_rgb
from viewer.datasets.source import DatasetError
from viewer.render.annotation import Annotation, DrawnPose, build_annotation, view_of_points
from viewer.render.painting import draw_overlay

Array = np.ndarray

SIDE_PX, JPEG_QUALITY = 320, 85
ROOM = 1.35
"""How much more than the network's crop is shown."""


def worst_jpegs(
    source: FaceSource, table: pa.Table, worst: Sequence[Worst]
) -> list[tuple[Worst, bytes]]:
    """Those whose picture can still be read."""
    pictures = []
    for one in worst:
        try:
            face = source.face(one.key)
            image_rgb = decode_rgb(face.picture, one.key)
        except (FaceLostError, DatasetError, UnreadablePictureError):
            continue
        row = table.slice(one.row, 1).to_pylist()[0]
        pictures.append((one, _jpeg(face, image_rgb, row)))
    return pictures


def _jpeg(face: LabelledFace, image_rgb: Array, row: dict[str, object]) -> bytes:
    box = xyxy_from_ray_box(face.camera, face.ray_box)
    middle, side = (box[:2] + box[2:]) / 2, ROOM * float((box[2:] - box[:2]).max())
    left, top = middle - side / 2
    scale = SIDE_PX / side
    to_picture = np.array([[scale, 0.0, -scale * left], [0.0, scale, -scale * top]])
    to_picture[:, 2] += (scale - 1.0) / 2.0  # cv2 counts from a pixel's centre
    small = cv2.warpAffine(
        image_rgb, to_picture, (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA, borderValue=(28, 28, 28)
    )
    true, found = _poses(face, box, row)
    size = (image_rgb.shape[1], image_rgb.shape[0])
    whole = Annotation(size, box_xyxy_px=box, pose=true, second=found)
    shown = whole.seen_in((SIDE_PX, SIDE_PX), float(left), float(top), float(scale))
    drawn = draw_overlay(small, build_annotation(shown, ("axes",)))
    bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _poses(
    face: LabelledFace, box: Float[Array, "4"], row: dict[str, object]
) -> tuple[DrawnPose, DrawnPose]:
    """Where there are no metres both axes start in the middle of the crop."""
    R_true = np.array(row["R_true"]).reshape(3, 3)
    R_found = np.array(row["R_found"]).reshape(3, 3)
    if row["t_true_mm"] is None:
        quarter = (box[2:] - box[:2]) / 6
        inner = np.stack([box[:2] + quarter, box[2:] - quarter])
        return view_of_points(R_true, inner), view_of_points(R_found, inner)
    t_true, t_found = np.array(row["t_true_mm"]), np.array(row["t_found_mm"])
    return _drawn(R_true, t_true, face.camera), _drawn(R_found, t_found, face.camera)


def _drawn(R: Float[Array, "3 3"], t_mm: Float[Array, "3"], camera: Camera) -> DrawnPose:
    return DrawnPose(R, t_mm, camera.K_image_from_cam)
