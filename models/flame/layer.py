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

from models.flame.flame_files import FlameModel
from models.flame.flame_landmarks import CONTOUR_COUNT, CONTOUR_MAX_DEG, HeadLandmarks


@dataclass(frozen=True)
class PosedHeads:
    """b heads. joints_m: where the joints are after posing. R_model_from_joint: how each joint is
    turned in all."""

    vertices_m: Float[Tensor, "b v 3"]
    joints_m: Float[Tensor, "b j 3"]
    R_model_from_joint: Float[Tensor, "b j 3 3"]


class FlameLayer(nn.Module):
    """A head model as a differentiable function of shape, expression and pose."""

    def __init__(
        self,
        model: FlameModel,
        landmarks: HeadLandmarks | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        directions = [model.shape_directions_m, model.expression_directions_m]
        self.shape_count, self.expression_count = map(len, directions)
        self.joint_parents = tuple(model.joint_parents.tolist())
        arrays = {
            "template": model.template_vertices_m,
            "directions": np.concatenate(directions).reshape(-1, model.template_vertices_m.size),
            "pose_directions": model.pose_directions_m.reshape(-1, model.template_vertices_m.size),
            "joint_regressor": model.joint_regressor,
            "weights": model.skinning_weights,
        }
        if landmarks is not None:
            arrays["static_weights"] = landmarks.static_weights
            arrays["contour_weights"] = landmarks.contour_weights
            for name in ("static_vertex_ids", "contour_vertex_ids"):
                ids = torch.tensor(np.asarray(getattr(landmarks, name)))
                self.register_buffer(name, ids, persistent=False)
        self.has_landmarks = landmarks is not None
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(np.asarray(array), dtype=dtype), False)

    def forward(
        self,
        shape: Float[Tensor, "b s"],
        expression: Float[Tensor, "b e"] | None = None,
        pose_rad: Float[Tensor, "b j 3"] | None = None,
    ) -> PosedHeads:
        """The heads; coefficients beyond those given are 0, no pose is the neutral one.

        Raises: ValueError for more coefficients than the model has, or another number of joints.
        """
        v_shaped = self._shaped(shape, expression)
        joints = torch.einsum("jv,bvk->bjk", self.joint_regressor, v_shaped)
        if pose_rad is None:
            pose_rad = torch.zeros_like(joints)
        if pose_rad.shape != joints.shape:
            raise ValueError(
                f"A pose has {joints.shape[1]} rotation vectors, not {pose_rad.shape}."
            )
        R = rotations_from_vectors(pose_rad)
        bends = (R[:, 1:] - torch.eye(3, dtype=R.dtype, device=R.device)).flatten(1)
        v_posed = v_shaped + (bends @ self.pose_directions).view_as(v_shaped)
        turned, moved = self._chain(R, joints)
        # G_k v = turned_k (v - joint_k) + moved_k
        offsets = moved - torch.einsum("bjkl,bjl->bjk", turned, joints)
        blended = torch.einsum("vj,bjkl->bvkl", self.weights, turned)
        vertices = torch.einsum("bvkl,bvl->bvk", blended, v_posed) + self.weights @ offsets
        return PosedHeads(vertices, moved, turned)

    def landmarks_68_m(
        self, heads: PosedHeads, *, follow_outline: bool = False
    ) -> Float[Tensor, "b 68 3"]:
        """iBUG's 68 landmarks on the heads.

        follow_outline: the jaw line moves to the outline of a turned head, where the model has a
        table of outlines. Raises: ValueError if the layer was made without landmarks.
        """
        if not self.has_landmarks:
            raise ValueError("This layer was made without landmarks.")
        static = _on_triangles(
            heads.vertices_m, self.static_vertex_ids.expand(len(heads.vertices_m), -1, -1),
            self.static_weights.expand(len(heads.vertices_m), -1, -1),
        )  # fmt: skip
        if not follow_outline or not len(self.contour_weights):
            return static
        rows = self.contour_rows(heads)
        outline = _on_triangles(
            heads.vertices_m, self.contour_vertex_ids[rows], self.contour_weights[rows]
        )
        return torch.cat([outline, static[:, CONTOUR_COUNT:]], 1)

    def contour_rows(self, heads: PosedHeads) -> Int[Tensor, "b"]:
        """Rows of the outline table: how far root and joint 1 (FLAME's neck) turn each head to its
        own left.

        The sign is that of FLAME's flame.py; MICA's lbs.py has the other one, which would move the
        outline on the side that the camera sees.
        """
        R = heads.R_model_from_joint[:, 1].detach()
        yaw_deg = torch.rad2deg(torch.atan2(-R[:, 2, 0], torch.hypot(R[:, 0, 0], R[:, 1, 0])))
        degrees = yaw_deg.round().clamp(-CONTOUR_MAX_DEG, CONTOUR_MAX_DEG).long()
        return torch.where(degrees < 0, CONTOUR_MAX_DEG - degrees, degrees)

    def _shaped(self, shape: Tensor, expression: Tensor | None) -> Float[Tensor, "b v 3"]:
        e = 0 if expression is None else expression.shape[1]
        if shape.shape[1] > self.shape_count or e > self.expression_count:
            raise ValueError(
                f"{shape.shape[1]} identity and {e} expression coefficients were given; the model "
                f"has {self.shape_count} and {self.expression_count}."
            )
        offsets = shape @ self.directions[: shape.shape[1]]
        if expression is not None:
            offsets = offsets + expression @ self.directions[self.shape_count :][:e]
        return self.template + offsets.view(len(shape), *self.template.shape)

    def _chain(self, R: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Each joint's rotation and place after all its ancestors have turned."""
        turned, moved = [R[:, 0]], [joints[:, 0]]
        for k, parent in enumerate(self.joint_parents[1:], 1):
            bone = (joints[:, k] - joints[:, parent])[..., None]
            moved.append(moved[parent] + (turned[parent] @ bone)[..., 0])
            turned.append(turned[parent] @ R[:, k])
        return torch.stack(turned, 1), torch.stack(moved, 1)


def rotations_from_vectors(vectors_rad: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of axis times angle; exact and differentiable at 0 too."""
    x, y, z = vectors_rad.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero)))
    return torch.linalg.matrix_exp(torch.stack(list(rows), -2))


def _on_triangles(
    vertices: Float[Tensor, "b v 3"], ids: Int[Tensor, "b n 3"], weights: Float[Tensor, "b n 3"]
) -> Float[Tensor, "b n 3"]:
    batch = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    return (vertices[batch, ids] * weights[..., None]).sum(-2)
