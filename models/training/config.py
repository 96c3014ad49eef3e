"""TrainConfig: everything that a training run may choose. Its sentences are the help texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss, see `models.training.losses`."""

    crop: float = 12.0
    """Mean distance per coordinate of the projected mesh, in half crops."""
    crop_limit: float = 2.0
    """No coordinate of the projected mesh counts as further off than this."""
    vertices: float = 200.0
    """Mean distance per coordinate of the mesh in its own head frame, metres."""
    rotation: float = 6.0
    """Mean difference of the entries of the rotation matrix."""
    scale: float = 5.0
    """Difference of the box correction's s."""
    shift: float = 4.0
    """Difference of the box correction's t_x' and t_y', summed."""
    iterations: tuple[float, ...] = (0.4, 0.7, 1.0)
    """Weight of each round of refinement."""
    presence: float = 2.0
    """Binary cross-entropy of face or not."""
    uncertainty: float = 1.0
    """Negative log-likelihood of the rotation's and the translation's errors."""
    landmarks: float = 12.0
    """As crop, of the 68 landmarks of faces of which no mesh is known."""
    mirror: float = 0.0
    """How much it counts, beside the labels, that the answers to a crop and to its mirror image are
    mirror images; above 0 every batch is such pairs, and crop_uses is at least 2."""


@dataclass(frozen=True)
class TrgLossWeights:
    """Weights of the parts of the released TRG's loss, see `models.training.losses_trg`."""

    vertices: float = 20.0
    """Mean distance per coordinate of the mesh in its own head frame, metres."""
    vertices_cam: float = 2.0
    """Mean distance per coordinate of the mesh in the camera's frame, metres."""
    image: float = 0.01
    """Mean distance per coordinate of the projected mesh, pixels of the whole picture."""
    points_5: float = 0.1
    """Mean distance per coordinate of five projected vertices from their landmarks, half crops."""
    rotation: float = 10.0
    """Mean squared difference of the entries of the rotation matrix."""
    edges: float = 2.0
    """Mean difference of the lengths of the mesh's edges, last iteration only."""
    landmarks_68: float = 1.25
    """Mean distance per coordinate of the heat maps' 68 points, half crops."""
    iterations: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Weight of each round of refinement."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    steps: int = 20_000
    """Batches to train on; the learning rate falls to its end over them."""
    epochs: int | None = None
    """Passes over the data; if given, they replace the steps."""
    batch_size: int = 64
    """Crops of one step, over all processes and all accumulated parts together."""
    gradient_accumulation: int = 1
    """Parts that each process takes its share of a batch in: the same step in less memory."""
    lr: float = 1.5e-3
    """Highest learning rate of AdamW."""
    schedule: Literal["cosine", "drop"] = "cosine"
    """How the learning rate falls: along a cosine to its end, or at once to lr_drop_factor."""
    final_lr_factor: float = 0.015
    """The learning rate at the end of a cosine, relative to the highest."""
    lr_drop_at: float = 2 / 3
    """Share of the steps after which the schedule drop falls."""
    lr_drop_factor: float = 0.1
    """The learning rate after that drop, relative to the one before."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from nothing."""
    weight_decay: float = 1e-4
    """AdamW's decoupled weight decay; 0 makes it Adam."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's averages of the gradient and of its square."""
    backbone_lr_factor: float = 0.4
    """Learning rate of the backbone relative to the rest."""
    basis_lr_factor: float = 0.02
    """Learning rate of the mesh basis relative to the rest."""
    ema_decay: float = 0.999
    """The averaged weights keep this share at every step, once warmed up; 0: no average."""
    gradient_clip: float | None = 20.0
    """Largest norm of the gradient, none for no limit; the uncertainty head has its own."""
    max_bad_steps: int = 1
    """Steps in a row with NaN or Inf, after which the run stops; the batch is saved. Fewer are
    skipped."""
    loss: LossWeights = field(default_factory=LossWeights)
    """Weights of the parts of the loss of trg-mini."""
    trg_loss: TrgLossWeights = field(default_factory=TrgLossWeights)
    """Weights of the parts of the loss of trg and trg-multi."""
    crop_uses: int = 1
    """How often a prepared crop is trained on, mirrored or not, out of a pool of 48 batches in the
    device's memory; more than 1 where a GPU is faster than the processors that prepare crops. For
    trg-mini."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the convolutions; the geometry stays in single precision. fp16 needs a GPU."""
    freeze_batch_norm: bool = False
    """Batch norm keeps the statistics it started with. Without this each process has its own on
    CPUs; on several GPUs they are shared."""
    freeze_stem: bool = False
    """No gradient through the stem and the finest stage of a facemesh backbone; twice as fast."""
    heads_only: bool = False
    """Train what trg-mini says of presence and uncertainty alone; its poses stay as they are. More
    than twice as fast."""
    compile: bool = False
    """torch.compile the backbone and the neck; needs a C++ compiler, and fails without one."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to train; auto: on the GPU where there is one."""
    devices: int = 1
    """Processes that train together on this machine, one a GPU; more than one are started through
    `accelerate launch`."""
    threads: int = 2
    """Processor threads of torch, each process."""
    seed: int = 0
    """Of dropout; the data has its own."""
    log_every: int = 50
    """Steps between two lines of the log."""
    validate_every: int = 1000
    """Steps between two validations; one more comes before the first step, one after the last."""
    best_by: str = "geodesic_mean_deg"
    """The validation's number that chooses the checkpoint to keep as the best: the smallest."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; one more comes at the end."""
    keep_checkpoints: int = 2
    """Older checkpoints are deleted, but never the best."""

    def __post_init__(self) -> None:
        """Raises: ValueError for values that cannot be meant."""
        positive = ("steps", "batch_size", "gradient_accumulation", "lr", "devices", "threads")
        more = ("log_every", "validate_every", "checkpoint_every", "keep_checkpoints")
        for name in (*positive, *more, "max_bad_steps", "gradient_clip", "epochs", "crop_uses"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}.")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}.")
        if not 0.0 < self.lr_drop_at <= 1.0:
            raise ValueError(f"lr_drop_at must be in (0, 1], got {self.lr_drop_at}.")
