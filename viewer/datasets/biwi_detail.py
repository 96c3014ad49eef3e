"""One frame of BIWI with all that its files say: scan, depth, other readings of the pose."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from models.geometry.conventions import BIWI_ORIGIN_HEAD_MM
from models.geometry.rotations import geodesic_deg
from viewer.datasets.biwi_box_file import BoxFile
from viewer.datasets.biwi_files import (
    Calibration,
    DepthImage,
    DepthPose,
    Scan,
    depth_points_mm,
    read_calibration,
    read_depth,
    read_old_annotation,
)
from viewer.datasets.biwi_layout import ANNOTATIONS, DEPTH, MASKS, POSE, BiwiLayout
from viewer.datasets.sample import Sample
from viewer.datasets.source import DatasetError, OtherPose, SampleDetail, SampleMesh

Array = np.ndarray

SCAN_VERTICES = 6918

UNCALIBRATED = "depth camera (uncalibrated)"
OWN_CENTRE = "BIWI's head centre"

OWN_CENTRE_NOTE = (
    "The same pose in the RGB camera with its translation at BIWI's own head centre, "
    f"{BIWI_ORIGIN_HEAD_MM.tolist()} mm from ours in the head's axes."
)


@dataclass(frozen=True)
class BiwiFrame:
    """What `Biwi.read` found out about a frame.

    rgb: the sequence's rgb.cal. pose: of pose.txt. centre_rgb_mm: BIWI's head centre in the RGB
    camera.
    """

    sample: Sample
    stem: str
    rgb: Calibration
    pose: DepthPose
    centre_rgb_mm: Float[Array, "3"]
    scan: Scan | None
    boxes: BoxFile | None

    @property
    def points_px(self) -> Float[Array, "68 2"] | None:
        """The box file's points."""
        return None if self.boxes is None else self.boxes.points_px.get(self.sample.key)


def biwi_detail(frame: BiwiFrame, layout: BiwiLayout) -> SampleDetail:
    """Raises: DatasetError for damaged depth."""
    sample, folder = frame.sample, layout.frames / frame.sample.sequence
    raw, notes = dict(_pose_fields(frame)), list(_scan_notes(frame, layout))
    raw |= _calibration_fields("rgb.cal", frame.rgb)
    depth_m, depth_raw, depth_notes = _depth(folder, frame)
    extra_raw, extra_notes = _extras(frame, layout)
    box_raw, box_notes = _box_fields(frame, layout)
    points = {} if frame.points_px is None else {_points_title(frame): frame.points_px}
    return SampleDetail(
        sample=sample,
        meshes=() if frame.scan is None else (_mesh(frame, frame.scan),),
        points_px=points,
        depth_cam_m=depth_m,
        other_poses=_other_poses(frame),
        raw=raw | depth_raw | extra_raw | box_raw,
        notes=(*notes, *depth_notes, *extra_notes, *box_notes),
    )


def _mesh(frame: BiwiFrame, scan: Scan) -> SampleMesh:
    vertices_mm = scan.vertices_mm @ frame.sample.R_cam_from_head.T + frame.centre_rgb_mm
    name = f"scan {frame.sample.sequence}.obj"
    return SampleMesh(name, "cam", vertices_mm / 1000.0, scan.triangles)


def _other_poses(frame: BiwiFrame) -> tuple[OtherPose, ...]:
    R, R_rgb = frame.pose.R_depth_from_head, frame.sample.R_cam_from_head
    t_mm = frame.pose.centre_mm - R @ BIWI_ORIGIN_HEAD_MM
    off_deg = float(geodesic_deg(frame.rgb.R_cam_from_depth, np.eye(3)))
    off_mm = float(np.linalg.norm(frame.centre_rgb_mm - frame.pose.centre_mm))
    note = (
        "The pose of pose.txt without rgb.cal, the rotation that FSA-Net, Hopenet and 6DRepNet are "
        f"tested with: {off_deg:.2f} deg and {off_mm:.0f} mm from that in the RGB camera."
    )
    return (
        OtherPose(UNCALIBRATED, R, t_mm, note),
        OtherPose(OWN_CENTRE, R_rgb, frame.centre_rgb_mm, OWN_CENTRE_NOTE),
    )


def _pose_fields(frame: BiwiFrame) -> Iterator[tuple[str, str]]:
    name = f"{frame.stem}_{POSE}"
    yield f"{name}: R (depth camera)", _text(frame.pose.R_written)
    yield f"{name}: head centre, mm (depth camera)", _text(frame.pose.centre_mm)
    yield "with rgb.cal: R (RGB camera)", _text(frame.sample.R_cam_from_head)
    yield "with rgb.cal: head centre, mm (RGB camera)", _text(frame.centre_rgb_mm)
    yield "person", frame.sample.subject


def _calibration_fields(name: str, calibration: Calibration) -> dict[str, str]:
    K = calibration.camera.K_image_from_cam
    return {
        f"{name}: fx, fy, cx, cy, px (first pixel at 0.5)": _text(K[[0, 1, 0, 1], [0, 1, 2, 2]]),
        f"{name}: distortion": _text(calibration.distortion),
        f"{name}: R": _text(calibration.R_cam_from_depth),
        f"{name}: T, mm": _text(calibration.t_cam_from_depth_mm),
        f"{name}: size, px": "{} x {}".format(*calibration.camera.size_wh_px),
    }


def _scan_notes(frame: BiwiFrame, layout: BiwiLayout) -> Iterator[str]:
    if frame.scan is None:
        yield f"{layout.scan_path(frame.sample.sequence).name} is not there: no mesh."
    else:
        vertices = len(frame.scan.vertices_mm)
        if vertices != SCAN_VERTICES:
            yield f"The mesh has {vertices:,} vertices; BIWI's scans have {SCAN_VERTICES:,}."
        if frame.scan.was_inside_out:
            yield "The mesh's triangles face inwards in the file; they were turned."
    if frame.rgb.distortion.any():
        yield "rgb.cal has lens distortion, which is left out."


def _depth(
    folder: Path, frame: BiwiFrame
) -> tuple[Float[Array, "n 3"] | None, dict[str, str], list[str]]:
    """Points in the RGB camera (metres), fields, notes."""
    path, calibration = folder / f"{frame.stem}_{DEPTH}", folder / "depth.cal"
    if not path.is_file():
        return None, {}, [f"No depth: the frame has no {DEPTH}."]
    depth = read_depth(path)
    raw = _depth_fields(path.name, depth)
    if not calibration.is_file():
        return None, raw, ["depth.cal is not there: the depth cannot be put into the picture."]
    camera = read_calibration(calibration)
    raw |= _calibration_fields("depth.cal", camera)
    notes = []
    is_moved = np.abs(camera.R_cam_from_depth - np.eye(3)).max() > 1e-6
    if is_moved or camera.t_cam_from_depth_mm.any():
        notes.append("depth.cal has a place of its own, left out: poses are in its camera.")
    size_wh_px = depth.depth_mm.shape[::-1]
    if size_wh_px != camera.camera.size_wh_px:
        raise DatasetError(
            f"{path} has {size_wh_px} px; its depth.cal is of {camera.camera.size_wh_px} px."
        )
    points_mm = depth_points_mm(depth.depth_mm, camera.camera)
    points_mm = points_mm @ frame.rgb.R_cam_from_depth.T + frame.rgb.t_cam_from_depth_mm
    return points_mm / 1000.0, raw, notes


def _depth_fields(name: str, depth: DepthImage) -> dict[str, str]:
    measured = depth.depth_mm[depth.depth_mm > 0]
    height, width = depth.depth_mm.shape
    extent = f", {measured.min()} to {measured.max()} mm" if measured.size else ""
    return {
        f"{name}: size, px": f"{width} x {height}",
        f"{name}: measured": f"{measured.size} px in {depth.runs} runs{extent}",
    }


def _extras(frame: BiwiFrame, layout: BiwiLayout) -> tuple[dict[str, str], list[str]]:
    """The older annotation and the head's mask; both are missing for some frames."""
    raw, notes = {}, []
    if layout.annotations is not None:
        path = layout.annotations / frame.sample.sequence / f"{frame.stem}_pose.bin"
        try:
            centre_mm, angles_deg = read_old_annotation(path)
            raw[f"{path.name}: head centre, mm (depth camera)"] = _text(centre_mm)
            raw[f"{path.name}: angles, deg"] = _text(angles_deg)
        except DatasetError as error:
            notes.append(str(error) if path.is_file() else f"{ANNOTATIONS} lacks this frame.")
    if layout.masks is not None:
        path = layout.masks / frame.sample.sequence / f"{frame.stem}_depth_mask.png"
        if path.is_file():
            raw[f"{path.name}: size, px"] = _png_size(path)
        else:
            notes.append(f"{MASKS} lacks this frame.")
    return raw, notes


def _png_size(path: Path) -> str:
    """Of the header; the picture is not decoded."""
    with path.open("rb") as file:
        header = file.read(24)
    if len(header) < 24 or header[12:16] != b"IHDR":
        return "not a PNG"
    return "{} x {}".format(*struct.unpack(">II", header[16:24]))


def _points_title(frame: BiwiFrame) -> str:
    by = "our own" if frame.boxes is not None and frame.boxes.is_ours else "TRG's"
    return f"68 detected points ({by} box file)"


def _box_fields(frame: BiwiFrame, layout: BiwiLayout) -> tuple[dict[str, str], list[str]]:
    """What the box is: detected where the box file has the frame, otherwise the scan's extent."""
    if frame.boxes is None:
        return {}, ["The box is the projected scan's: there is no annot_mtcnn_fan.pkl in use."]
    raw = {"annot_mtcnn_fan.pkl: made by": frame.boxes.made_by}
    if frame.points_px is None:
        return raw, ["The box file has no face in this frame; the box is the projected scan's."]
    return raw, []


def _text(values: Float[Array, "*shape"]) -> str:
    rows = np.atleast_2d(values)
    return "\n".join(" ".join(f"{value:.6g}" for value in np.round(row, 9) + 0.0) for row in rows)
