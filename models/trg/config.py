"""TrgConfig: what distinguishes one TRG from another; the released one and trg-mini are values."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TrgConfig:
    """Architecture and conventions of one TRG network."""

    backbone: Literal["resnet18", "facemesh"]
    """resnet18: torchvision's layout, no classifier. facemesh: depthwise blocks of FaceMesh."""
    neck: Literal["deconv", "pyramid"]
    """How a map per iteration is made: transposed convolutions, or a feature pyramid."""
    neck_channels: int
    """Channels of the maps that are sampled."""
    n_vertices: int
    """Vertices of the face mesh."""
    n_samples: int
    """Mesh vertices whose projections are sampled from the second iteration on."""
    n_shape_coefficients: int
    """Components of the linear mesh model; 0: every vertex is predicted freely."""
    grid_side: int
    """The first iteration samples grid_side x grid_side fixed points."""
    sampling: Literal["corners", "centres"]
    """-1 and 1 are the outermost cells' centres (zeros outside), or the map's edges (clamped)."""
    detach_samples: bool
    """Stop gradients at the sampling positions."""
    point_channels: tuple[int, ...]
    """Output channels of the point-wise layers on samples; the last is what a point contributes."""
    point_relu: bool
    """ReLU after the last point-wise layer."""
    hidden: int
    """Width of the regressors' two fully connected layers."""
    hidden_prelu: bool
    """PReLU after each of them; without it a regressor is affine, as released."""
    dropout: float
    """After each of them, in training."""
    top_feature_scale: float
    """The first regressor also sees the deepest map, times this; 0: it does not."""
    box_size_m: float
    """Physical width of a box for s = 1: t_z = s * box_size_m / angular side."""
    box_side_log_reference: float | None
    """The regressors see log(angular side / this); None: the side itself."""
    project_with_intrinsics: bool
    """Vertices go to the crop through K_crop; False: through the ray box, whatever K_crop says."""
    min_depth_m: float | None
    """Depth is held above this in projections; None: not held, as released."""
    landmark_head: bool
    """A heat map of 68 landmarks on the last map."""
    initial_pose9: tuple[float, ...]
    """Pose before the first iteration: r00 r01 r10 r11 r20 r21, then s, t_x', t_y'."""
    pixel_mean: tuple[float, float, float]
    """Subtracted from RGB / 255."""
    pixel_std: tuple[float, float, float]
    """Divides after that."""
    corner_aligned_crop: bool
    """Pixel scale of crops is (crop_px - 1) / side, see `models.geometry.boxes.crop_affine`."""
    extra_blocks: int = 0
    """facemesh only: blocks added at the end of each of the four deepest stages."""
    crop_px: int = 192
    """Side of the input crop."""
    n_iterations: int = 3
    """Rounds of bidirectional refinement, at most one on each of the neck's three maps."""
    presence_head: bool = False
    """Face or not, from the deepest maps."""
    uncertainty_head: bool = False
    """Covariance of the rotation error and sigmas of t, see `models.trg.uncertainty`."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_iterations <= 3:
            raise ValueError(
                f"n_iterations is {self.n_iterations}: a TRG makes 1 to 3 rounds, each on one of "
                "its neck's three maps."
            )

    @classmethod
    def released(cls) -> TrgConfig:
        """TRG as published (ECCV 2024): ResNet-18, three deconvolutions, 1220 free vertices."""
        return cls(
            backbone="resnet18",
            neck="deconv",
            neck_channels=256,
            n_vertices=1220,
            n_samples=305,
            n_shape_coefficients=0,
            grid_side=18,
            sampling="corners",
            detach_samples=False,
            point_channels=(128, 64, 5),
            point_relu=True,
            hidden=1024,
            hidden_prelu=False,
            dropout=0.5,
            top_feature_scale=0.0,
            box_size_m=0.2,
            box_side_log_reference=None,
            project_with_intrinsics=True,
            min_depth_m=None,
            landmark_head=True,
            initial_pose9=(
                *(0.9992629, 0.03637771, -0.03448292, 0.9909312, -0.01685868, 0.12935151),
                *(1.0, 0.0, 0.0),
            ),
            pixel_mean=IMAGENET_MEAN,
            pixel_std=IMAGENET_STD,
            corner_aligned_crop=True,
        )

    @classmethod
    def mini(cls) -> TrgConfig:
        """trg-mini: FaceMesh backbone, feature pyramid, 468 vertices from 80 mesh components."""
        return cls(
            backbone="facemesh",
            neck="pyramid",
            neck_channels=32,
            n_vertices=468,
            n_samples=128,
            n_shape_coefficients=80,
            grid_side=12,
            sampling="centres",
            detach_samples=True,
            point_channels=(12,),
            point_relu=False,
            hidden=384,
            hidden_prelu=True,
            dropout=0.0,
            top_feature_scale=0.3,
            box_size_m=0.24,
            box_side_log_reference=0.3,
            project_with_intrinsics=False,
            min_depth_m=0.05,
            landmark_head=False,
            initial_pose9=(1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
            pixel_mean=(0.0, 0.0, 0.0),
            pixel_std=(1.0, 1.0, 1.0),
            corner_aligned_crop=False,
            extra_blocks=1,
        )

    def to_json(self) -> str:
        """One line that `from_json` reads back; stored beside the weights of a bundle."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrgConfig:
        """Inverse of `to_json`; absent fields that have a default take it.

        Raises: ValueError naming the fields that do not fit, or their values.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"A TRG configuration is a JSON object, not {type(values).__name__}.")
        known = {f.name for f in fields(cls)}
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        wrong = sorted((set(values) - known) | (needed - set(values)))
        if wrong:
            raise ValueError(f"A TRG configuration has missing or unknown fields: {wrong}.")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
