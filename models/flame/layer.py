"""FLAME's linear blend skinning in PyTorch, for FLAME and for heads of its form.

FLAME, Li et al. 2017, with SMPL's skinning, Loper et al. 2015:

    v_shaped = template + shape . shape_directions + expression . expression_directions
    joints   = joint_regressor v_shaped
    v_posed  = v_shaped + sum over k >= 1 of pose_directions . vec(R_k - identity)
    vertex   = sum over k of weight_k (G_k v_posed),  G_k = G_parent [turn about joint k by R_k]

Column convention: R acts on column vectors, p_turned = R p; vec is row by row; of the pose
directions joint 1 has the first 9. A pose is one rotation vector (axis times angle, radians) per
joint, in the parent's axes, in the model's order; FLAME's 15 numbers are root, neck, jaw, left eye,
right eye. Frame and unit are the model's: x to the subject's left, y up, z out of the face, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.flame.assets import FlameAssets
from models.flame.flame_landmarks import CONTOUR_COUNT, CONTOUR_MAX_DEG

Array = np.ndarray

_SMALL_RAD = 1e-4


@dataclass(frozen=True)
class FlameOutput:
    """b heads in FLAME's axes, metres.

    joints_flame_m: where the joints are after posing. landmarks_68_flame_m: iBUG's 68; None where
        the assets have no landmarks.
    """

    vertices_flame_m: Float[Tensor, "b v 3"]
    joints_flame_m: Float[Tensor, "b j 3"]
    landmarks_68_flame_m: Float[Tensor, "b 68 3"] | None


_HEADS_TIMES_VERTICES = 1 << 18
"""How much is skinned at once: as fast as anything larger, and the temporaries stay small."""


class FlameLayer(nn.Module):
    """A head model as a differentiable function of shape, expression and pose.

    Coordinates are kept apart, (3, ..., v), and heads are made block by block of vertices, so that
    every temporary is a few MB. Joints are linear in the coefficients, so they need no mesh.
    """

    def __init__(self, assets: FlameAssets, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape_count = len(assets.shape_directions_m)
        self.expression_count = len(assets.expression_directions_m)
        self.joint_parents = tuple(assets.joint_parents.tolist())
        self.has_landmarks = assets.landmarks is not None
        self.has_outlines = self.has_landmarks and len(assets.landmarks.contour_weights) > 0
        for name, array in _buffers(assets).items():
            wanted = dtype if array.dtype.kind == "f" else torch.int64
            self.register_buffer(name, torch.tensor(array, dtype=wanted), persistent=False)

    def forward(
        self,
        shape: Float[Tensor, "b s"],
        expression: Float[Tensor, "b e"] | None = None,
        pose_rad: Float[Tensor, "b p"] | None = None,
        translation_m: Float[Tensor, "b 3"] | None = None,
    ) -> FlameOutput:
        """The heads; coefficients beyond those given are 0, no pose is the neutral one.

        pose_rad: a rotation vector per joint; FLAME's 15 are global, neck, jaw, left eye, right
            eye. translation_m: added last, in FLAME's axes.
        The jaw line of the landmarks moves to the outline of a turned head, where the model has a
        table of outlines.
        Raises: ValueError for more coefficients than the model has, or another number of joints.
        """
        b, j = len(shape), len(self.joint_parents)
        expression = shape.new_zeros(b, 0) if expression is None else expression
        pose_rad = shape.new_zeros(b, 3 * j) if pose_rad is None else pose_rad
        self._check(shape, expression, pose_rad)
        R = rotations_from_vectors(pose_rad.reshape(b, j, 3))
        joints = self._joints(shape, expression)
        turned, moved = self._chain(R, joints)
        if translation_m is not None:
            moved = moved + translation_m[:, None]
        # Joint k takes p to turned_k (p - joint_k) + moved_k.
        offsets = moved[..., None] - turned @ joints[..., None]
        transforms = torch.cat([turned, offsets], -1).permute(2, 3, 0, 1).reshape(-1, j)
        bends = (R[:, 1:] - torch.eye(3, dtype=R.dtype, device=R.device)).flatten(1)
        vertices = self._skinned(transforms, shape, expression, bends)
        landmarks = None
        if self.has_landmarks:
            rows = contour_rows(turned[:, 1]) if self.has_outlines else None
            landmarks = self.landmarks_68_m(vertices, rows)
        return FlameOutput(vertices, moved, landmarks)

    def landmarks_68_m(
        self, vertices_m: Float[Tensor, "b v 3"], outline_rows: Int[Tensor, "b"] | None = None
    ) -> Float[Tensor, "b 68 3"]:
        """iBUG's 68 landmarks on heads of this topology, in their frame.

        outline_rows: of the table of outlines, see `contour_rows`; None: the jaw line stays on the
            skin where it is on a head seen from in front.
        Raises: ValueError if the assets have no landmarks.
        """
        if not self.has_landmarks:
            raise ValueError("This head has no landmarks: landmark_embedding.npy is missing.")
        ids = self.static_vertex_ids.expand(len(vertices_m), -1, -1)
        weights = self.static_weights.expand(len(vertices_m), -1, -1)
        if outline_rows is not None:
            outline = self.contour_vertex_ids[outline_rows], self.contour_weights[outline_rows]
            ids = torch.cat([outline[0], ids[:, CONTOUR_COUNT:]], 1)
            weights = torch.cat([outline[1], weights[:, CONTOUR_COUNT:]], 1)
        heads = torch.arange(len(vertices_m), device=vertices_m.device)[:, None, None]
        return (vertices_m[heads, ids] * weights[..., None]).sum(-2)

    def _check(self, shape: Tensor, expression: Tensor, pose_rad: Tensor) -> None:
        b, s, e, j = len(shape), shape.shape[1], expression.shape[1], len(self.joint_parents)
        if s > self.shape_count or e > self.expression_count:
            raise ValueError(
                f"{s} identity and {e} expression coefficients were given; the model has "
                f"{self.shape_count} and {self.expression_count}."
            )
        if pose_rad.shape != (b, 3 * j):
            raise ValueError(
                f"A pose of {j} joints has {3 * j} numbers for each of {b} heads, not "
                f"{tuple(pose_rad.shape)}."
            )

    def _joints(self, shape: Tensor, expression: Tensor) -> Float[Tensor, "b j 3"]:
        """Where the joints are before posing."""
        s, e = shape.shape[1], expression.shape[1]
        joints = torch.addmm(self.joints, shape, self.shape_joints[:s])
        joints = torch.addmm(joints, expression, self.expression_joints[:e])
        return joints.view(len(shape), len(self.joint_parents), 3)

    def _skinned(
        self, transforms: Float[Tensor, "_rows j"], *coefficients: Float[Tensor, "b _k"]
    ) -> Float[Tensor, "b v 3"]:
        """The vertices. transforms: their rows, columns and heads in one; coefficients: of shape,
        expression and pose directions."""
        b, v = len(coefficients[0]), self.template.shape[-1]
        if b == 1 and not (torch.is_grad_enabled() or self.template.is_cuda):
            return self._skinned_alone(transforms, *coefficients)
        size = max(1, _HEADS_TIMES_VERTICES // max(1, b))
        parts = []
        for first in range(0, v, size):
            block = slice(first, first + size)
            posed = self.template[..., block].expand(-1, b, -1)
            for weights, directions in zip(coefficients, self._directions(), strict=True):
                some = directions[:, : weights.shape[1], block]
                posed = torch.baddbmm(posed, weights.expand(3, -1, -1), some)
            blended = (transforms @ self.weights[:, block]).view(3, 4, *posed.shape[1:])
            parts.append(_applied(blended, posed).permute(1, 2, 0))
        return torch.cat(parts, 1)

    def _skinned_alone(
        self, transforms: Float[Tensor, "_rows j"], *coefficients: Float[Tensor, "1 _k"]
    ) -> Float[Tensor, "1 v 3"]:
        """One head by the coefficients that are not 0, in operations too small to be shared.

        A slider's head takes a millisecond so; on a busy machine, waiting for the other threads of
        a matrix product takes twenty.
        """
        posed = self.template[:, 0].clone()
        for weights, directions in zip(coefficients, self._directions(), strict=True):
            for k, weight in enumerate(weights[0].tolist()):
                if weight:
                    posed.add_(directions[:, k], alpha=weight)
        columns = transforms.view(3, 4, -1)
        blended = [torch.zeros_like(posed) for _ in range(4)]
        for j, shares in enumerate(self.weights):
            for column, sum_m in enumerate(blended):
                sum_m.addcmul_(columns[:, column, j, None], shares)
        moved = blended[3]
        for axis in range(3):
            moved.addcmul_(blended[axis], posed[axis])
        return moved.T.contiguous()[None]

    def _directions(self) -> tuple[Float[Tensor, "3 s v"], ...]:
        return self.shape_directions, self.expression_directions, self.pose_directions

    def _chain(self, R: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Each joint's rotation and place after all its ancestors have turned."""
        turned, moved = [R[:, 0]], [joints[:, 0]]
        for k, parent in enumerate(self.joint_parents[1:], 1):
            bone = (joints[:, k] - joints[:, parent])[..., None]
            moved.append(moved[parent] + (turned[parent] @ bone)[..., 0])
            turned.append(turned[parent] @ R[:, k])
        return torch.stack(turned, 1), torch.stack(moved, 1)


def contour_rows(R_flame_from_neck: Float[Tensor, "b 3 3"]) -> Int[Tensor, "b"]:
    """Rows of the table of outlines: how far the first joint and joint 1 (FLAME's global rotation
    and neck) turn each head to its own left.

    The sign is that of FLAME's flame.py; MICA's lbs.py has the other one, which would move the
    outline on the side that the camera sees.
    """
    R = R_flame_from_neck.detach()
    yaw_deg = torch.rad2deg(torch.atan2(-R[:, 2, 0], torch.hypot(R[:, 0, 0], R[:, 1, 0])))
    degrees = yaw_deg.round().clamp(-CONTOUR_MAX_DEG, CONTOUR_MAX_DEG).long()
    return torch.where(degrees < 0, CONTOUR_MAX_DEG - degrees, degrees)


def rotations_from_vectors(vectors_rad: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of axis times angle (Rodrigues); differentiable at 0 too."""
    square = (vectors_rad * vectors_rad).sum(-1)[..., None, None]
    is_small = square < _SMALL_RAD**2
    angle = torch.where(is_small, torch.ones_like(square), square).sqrt()
    sine = torch.where(is_small, 1 - square / 6, angle.sin() / angle)
    cosine = torch.where(is_small, 0.5 - square / 24, 2 * ((angle / 2).sin() / angle) ** 2)
    x, y, z = vectors_rad.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero)))
    cross = torch.stack(list(rows), -2)
    identity = torch.eye(3, dtype=cross.dtype, device=cross.device)
    return identity + sine * cross + cosine * (cross @ cross)


def _applied(
    blended: Float[Tensor, "3 4 b v"], points: Float[Tensor, "3 b v"]
) -> Float[Tensor, "3 b v"]:
    """Each point moved by its own [R | t], coordinates apart."""
    moved = torch.addcmul(blended[:, 3], blended[:, 0], points[0])
    moved = torch.addcmul(moved, blended[:, 1], points[1])
    return torch.addcmul(moved, blended[:, 2], points[2])


def _buffers(assets: FlameAssets) -> dict[str, Array]:
    """What the layer keeps, by name: directions as (3, k, v), and what they do to the joints."""
    kinds = {
        "shape": assets.shape_directions_m,
        "expression": assets.expression_directions_m,
    }
    arrays = {
        "template": assets.template_vertices_m.T[:, None],
        "pose_directions": assets.pose_directions_m.transpose(2, 0, 1),
        "joints": (assets.joint_regressor @ assets.template_vertices_m).ravel(),
        "weights": assets.skinning_weights.T,
        "T_head_from_flame": assets.T_head_from_flame,
    }
    for kind, directions in kinds.items():
        arrays[f"{kind}_directions"] = directions.transpose(2, 0, 1)
        joints = np.einsum("jv,kvc->kjc", assets.joint_regressor, directions, optimize=True)
        arrays[f"{kind}_joints"] = joints.reshape(len(directions), 3 * len(assets.joint_parents))
    if assets.landmarks is not None:
        arrays |= vars(assets.landmarks)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
