"""TrainConfig: everything that a training run may choose. Its sentences are the help texts."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    presence: float = 1.0
    """Binary cross-entropy of face or not."""
    uncertainty: float = 1.0
    """Negative log-likelihood of the rotation's and the translation's errors."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    steps: int = 20_000
    """Batches to train on; the learning rate falls to its end over them."""
    batch_size: int = 64
    """Crops in a batch; the trainer refuses batches of another size."""
    lr: float = 1.5e-3
    """Highest learning rate of AdamW."""
    final_lr_factor: float = 0.015
    """The learning rate at the end, relative to the highest."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from nothing."""
    weight_decay: float = 1e-4
    """AdamW's decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's averages of the gradient and of its square."""
    backbone_lr_factor: float = 0.4
    """Learning rate of the backbone relative to the rest."""
    basis_lr_factor: float = 0.02
    """Learning rate of the mesh basis relative to the rest."""
    ema_decay: float = 0.999
    """The averaged weights keep this share at every step, once warmed up."""
    gradient_clip: float = 20.0
    """Largest norm of the gradient; the uncertainty head has a clip of its own."""
    max_bad_steps: int = 50
    """Steps in a row with a gradient that is not finite, after which the run gives up."""
    loss: LossWeights = field(default_factory=LossWeights)
    """Weights of the parts of the loss."""
    bf16: bool = False
    """Convolutions in bfloat16; the geometry stays in single precision."""
    freeze_stem: bool = False
    """No gradient through the stem and the finest stage of a facemesh backbone; twice as fast."""
    compile: bool = False
    """torch.compile the backbone and the neck; needs a C++ compiler, and fails without one."""
    device: str = "cpu"
    """Where to train: cpu, cuda, cuda:1."""
    threads: int = 2
    """Processor threads of torch."""
    seed: int = 0
    """Of dropout; the data has its own."""
    log_every: int = 50
    """Steps between two lines of the log."""
    validate_every: int = 1000
    """Steps between two validations; one more comes before the first step, one after the last."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; one more comes at the end."""
    keep_checkpoints: int = 2
    """Older checkpoints are deleted."""

    def __post_init__(self) -> None:
        """Raises: ValueError for values that cannot be meant."""
        positive = ("steps", "batch_size", "lr", "threads", "log_every", "validate_every")
        for name in (*positive, "checkpoint_every", "keep_checkpoints", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}.")
