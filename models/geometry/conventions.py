"""The same pose in the six conventions that people ask for: matrix, angles, and code to copy.

Everything starts from the project's own pose: R_cam_from_head and t_cam_from_head_mm, OpenCV axes,
the `head` frame. The Euler angles themselves are defined in `rotations.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from models.geometry import rotations
from models.geometry.rotations import GL_FROM_CV, YawPitchRollDeg

Array = np.ndarray

BIWI_ORIGIN_HEAD_MM = np.array([-0.3, 8.6, -15.9])
"""BIWI's head centre in `head`: TRGv2's mean over the 24 scans aligned with ARKit's mean face.

A translation-only fit of ARKit's mean face to scan 01 gives (0.1, 11.2, -16.5).
"""


@dataclass(frozen=True)
class Convention:
    """How somebody else writes a head pose down.

    key: for files and addresses. label: for menus.
    description: axes, layout, signs and Euler order in one sentence.
    unit: of the translation, "mm" or "m"; "" where the convention has no metric translation.
    ypr_deg: R_cam_from_head -> yaw, pitch, roll with this convention's order and signs.
    matrix4: (R_cam_from_head, t_cam_from_head_mm) -> 4x4 in this convention's axes, layout and
        unit; its translation is 0 where the convention has none.
    matrix_code, angles_code: the same two as Python on `R`, `t` (mm) and `S`, see `code_line`.
    """

    key: str
    label: str
    description: str
    unit: str
    ypr_deg: Callable[[Array], YawPitchRollDeg]
    matrix4: Callable[[Array, Array], Array]
    matrix_code: str
    angles_code: str

    def matrix(
        self, R_cam_from_head: Float[Array, "3 3"], t_cam_from_head_mm: Float[Array, "3"]
    ) -> Float[Array, "n n"]:
        """What to show: `matrix4`, or its 3x3 rotation where there is no metric translation."""
        full = self.matrix4(R_cam_from_head, t_cam_from_head_mm)
        return full if self.unit else full[:3, :3]

    def code_line(
        self, R_cam_from_head: Float[Array, "3 3"], t_cam_from_head_mm: Float[Array, "3"]
    ) -> str:
        """Python to copy: from the OpenCV pose to `matrix` and the angles, with NumPy and SciPy."""
        needs_flip = "S" in self.matrix_code
        lines = [
            "import numpy as np; from scipy.spatial.transform import Rotation",
            f"R = np.array({np.round(R_cam_from_head, 9).tolist()})  # OpenCV axes",
            f"t = np.array({np.round(t_cam_from_head_mm, 6).tolist()})  # mm",
            *(["S = np.diag([1, -1, -1])  # y and z turned"] if needs_flip else []),
            f"matrix = {self.matrix_code}  # {self.label}" + (f", {self.unit}" * bool(self.unit)),
            self.angles_code,
        ]
        return "\n".join(lines)


def _matrix4(R: Float[Array, "3 3"], t: Float[Array, "3"]) -> Float[Array, "4 4"]:
    """Column-vector 4x4 of a rotation and a translation."""
    full = np.eye(4)
    full[:3, :3], full[:3, 3] = R, t
    return full


def _gl_rotation(R_cam_from_head: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """The rotation with both frames in OpenGL's axes."""
    return GL_FROM_CV @ R_cam_from_head @ GL_FROM_CV


def _gl_matrix4_m(
    R_cam_from_head: Float[Array, "3 3"], t_cam_from_head_mm: Float[Array, "3"]
) -> Float[Array, "4 4"]:
    return _matrix4(_gl_rotation(R_cam_from_head), GL_FROM_CV @ t_cam_from_head_mm / 1000.0)


_ALL = (
    Convention(
        key="opencv",
        label="OpenCV",
        description="x right, y down, z forward; column vectors, mm; R = Rz(roll) Ry(yaw) "
        "Rx(pitch): yaw > 0 turns the nose to image left, pitch > 0 looks down, roll > 0 is "
        "clockwise.",
        unit="mm",
        ypr_deg=rotations.ypr_opencv_from_matrix,
        matrix4=_matrix4,
        matrix_code="np.vstack([np.c_[R, t], [0, 0, 0, 1]])",
        angles_code='pitch, yaw, roll = Rotation.from_matrix(R).as_euler("xyz", degrees=True)',
    ),
    Convention(
        key="opengl",
        label="OpenGL",
        description="x right, y up, z to the viewer, for the camera and for the head; column "
        "vectors, m; R = Ry(yaw) Rx(pitch) Rz(roll), three.js's YXZ: yaw > 0 turns the nose to "
        "image right, pitch > 0 looks down, roll > 0 is counter-clockwise.",
        unit="m",
        ypr_deg=lambda R: rotations.ypr_opengl_from_matrix(_gl_rotation(R)),
        matrix4=_gl_matrix4_m,
        matrix_code="np.vstack([np.c_[S @ R @ S, S @ t / 1000], [0, 0, 0, 1]])",
        angles_code="yaw, pitch, roll = "
        'Rotation.from_matrix(S @ R @ S).as_euler("YXZ", degrees=True)',
    ),
    Convention(
        key="arkit",
        label="ARKit",
        description="OpenGL's axes and matrix, column vectors, m (the ARKitFace data set stores "
        "the transpose, for row vectors); R = Rx(pitch) Ry(yaw) Rz(roll): yaw > 0 turns the nose "
        "to image right, pitch > 0 looks down, roll > 0 is counter-clockwise.",
        unit="m",
        ypr_deg=lambda R: rotations.ypr_arkit_from_matrix(_gl_rotation(R)),
        matrix4=_gl_matrix4_m,
        matrix_code="np.vstack([np.c_[S @ R @ S, S @ t / 1000], [0, 0, 0, 1]])",
        angles_code="pitch, yaw, roll = "
        'Rotation.from_matrix(S @ R @ S).as_euler("XYZ", degrees=True)',
    ),
    Convention(
        key="300wlp",
        label="300W-LP / Hopenet",
        description="The Basel face model's axes (x right, y up, z to the camera), rotation only: "
        "its translation is in image pixels; R = Rx(-pitch) Ry(-yaw) Rz(-roll): yaw > 0 turns the "
        "nose to image left, pitch > 0 looks up, roll > 0 is clockwise.",
        unit="",
        ypr_deg=rotations.ypr_300wlp_from_matrix,
        matrix4=lambda R, t_mm: _matrix4(_gl_rotation(R), np.zeros(3)),
        matrix_code="S @ R @ S",
        angles_code="pitch, yaw, roll = "
        '-Rotation.from_matrix(S @ R @ S).as_euler("XYZ", degrees=True)',
    ),
    Convention(
        key="biwi",
        label="BIWI",
        description="OpenCV's axes, column vectors, mm, with t at BIWI's head centre (8.6 mm below "
        "and 15.9 mm in front of ours); R = Rx(-pitch) Ry(yaw) Rz(roll): yaw > 0 turns the nose to "
        "image left, pitch > 0 looks up, roll > 0 is clockwise.",
        unit="mm",
        ypr_deg=rotations.ypr_300wlp_from_matrix,
        matrix4=lambda R, t_mm: _matrix4(R, t_mm + R @ BIWI_ORIGIN_HEAD_MM),
        matrix_code=f"np.vstack([np.c_[R, t + R @ {BIWI_ORIGIN_HEAD_MM.tolist()}], [0, 0, 0, 1]])",
        angles_code="pitch, yaw, roll = "
        'Rotation.from_matrix(R).as_euler("XYZ", degrees=True) * [-1, 1, 1]',
    ),
    Convention(
        key="trg",
        label="TRG's metric",
        description="OpenCV's axes, row vectors (translation in the last row), m; R = Rz(roll) "
        "Rx(pitch) Ry(yaw), SciPy's extrinsic yxz: yaw > 0 turns the nose to image left, pitch > 0 "
        "looks down, roll > 0 is clockwise.",
        unit="m",
        ypr_deg=rotations.ypr_trg_metric_from_matrix,
        matrix4=lambda R, t_mm: _matrix4(R, t_mm / 1000.0).T,
        matrix_code="np.vstack([np.c_[R, t / 1000], [0, 0, 0, 1]]).T",
        angles_code='yaw, pitch, roll = Rotation.from_matrix(R).as_euler("yxz", degrees=True)',
    ),
)

CONVENTIONS: dict[str, Convention] = {convention.key: convention for convention in _ALL}
"""By key, in the order of the menu; the first is the default."""
