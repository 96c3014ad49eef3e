"""How weights move: parameter groups, the learning rate of a step, averaged weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from models.training.config import TrainConfig
from models.trg.network import Trg


def build_optimizer(network: Trg, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW on everything that has gradients: backbone, mesh basis and the rest in groups.

    Each group carries its highest learning rate as "peak_lr".
    """
    backbone = {id(p) for p in network.feature_extractor.parameters()}
    basis = {id(network.mesh_basis)} if network.config.n_shape_coefficients else set()
    trained = [p for p in network.parameters() if p.requires_grad]
    parts = [
        ([p for p in trained if id(p) not in backbone | basis], 1.0),
        ([p for p in trained if id(p) in backbone], config.backbone_lr_factor),
        ([p for p in trained if id(p) in basis], config.basis_lr_factor),
    ]
    groups = [
        {"params": parameters, "lr": config.lr * factor, "peak_lr": config.lr * factor}
        for parameters, factor in parts
        if parameters
    ]
    return torch.optim.AdamW(
        groups, betas=config.betas, weight_decay=config.weight_decay, foreach=True
    )


def lr_factor(step: int, config: TrainConfig) -> float:
    """Learning rate of step 0, 1, ... relative to the highest: a linear rise times a fall.

    A function of the step alone, so that a resumed run needs nothing to find its place.
    """
    rise = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "drop":
        return rise * (config.lr_drop_factor if step >= config.lr_drop_at * config.steps else 1.0)
    fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / config.steps)))
    return rise * (config.final_lr_factor + (1.0 - config.final_lr_factor) * fall)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """The peak rate of each group times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def averaged_copy(network: Trg) -> Trg:
    """What `update_average` moves: a copy in evaluation mode without gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: Trg, network: Trg, step: int, decay: float) -> None:
    """One step of the exponential average; early steps forget faster, so that the start is not
    remembered."""
    keep = min(decay, (2.0 + step) / (21.0 + step))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1.0 - keep)
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)


class GradientClip:
    """Clips the uncertainty head by itself: its likelihood explodes on outliers, and the pose
    should not pay for that with shorter steps."""

    def __init__(self, network: Trg, limit: float | None) -> None:
        head = network.uncertainty_head if network.config.uncertainty_head else nn.Module()
        own = {id(p) for p in head.parameters()}
        trained = [p for p in network.parameters() if p.requires_grad]
        sets = ([p for p in trained if id(p) not in own], [p for p in trained if id(p) in own])
        self._sets = [parameters for parameters in sets if parameters]
        self._limit = math.inf if limit is None else limit

    def __call__(self) -> Tensor:
        """Clips; returns the sum of the norms before, not finite if any gradient was not."""
        norms = [
            nn.utils.clip_grad_norm_(parameters, self._limit, foreach=True)
            for parameters in self._sets
        ]
        return torch.stack(norms).sum()
