"""Accelerate as the trainer uses it: devices, processes, precision. One process is the plain case.

Everything is a mean over processes: `Engine.whole_counts` makes parts of a loss add up to the loss
of the whole batch, whoever holds its crops.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import broadcast_object_list, gather_object
from jaxtyping import Bool, Float
from torch import Tensor, nn

from models.training.config import TrainConfig
from models.trg.batch import PoseBatch
from models.trg.network import Trg

_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


class EngineError(ValueError):
    """What was asked for is not possible on this machine; the message says what."""


def build_accelerator(config: TrainConfig) -> Accelerator:
    """For the processes that were launched; joins the others, if there are others.

    Raises: EngineError for a device or precision that is not there.
    """
    has_cuda = torch.cuda.is_available()
    if config.device == "cuda" and not has_cuda:
        raise EngineError("There is no CUDA device on this machine; train on the device cpu.")
    cpu = config.device == "cpu" or not has_cuda
    if cpu and config.precision == "fp16":
        raise EngineError("fp16 needs a GPU; on the processor train in fp32 or bf16.")
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        # an earlier run of this process may have chosen another device or precision
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    return Accelerator(cpu=cpu, mixed_precision=_PRECISION[config.precision])


class Engine:
    """A network and its optimiser under Accelerate."""

    def __init__(self, accelerator: Accelerator, config: TrainConfig) -> None:
        self.accelerator, self._config = accelerator, config
        self.world, self.rank = accelerator.num_processes, accelerator.process_index
        self.is_main, self.device = accelerator.is_main_process, accelerator.device
        self.model: nn.Module | None = None

    def with_shared_batch_norm(self, network: Trg) -> Trg:
        """On several GPUs batch norm takes its statistics over all of them; gloo cannot."""
        if self.world == 1 or self.device.type != "cuda":
            return network
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)

    def prepare(self, network: Trg, optimizer: torch.optim.Optimizer) -> Any:
        """Wraps both; returns the optimiser. The weights of the first process are everyone's."""
        self.model, prepared = self.accelerator.prepare(network, optimizer)
        return prepared

    def release(self) -> None:
        """Take the wrapping off again: the network is then as it was given, trained."""
        if self.model is not None:
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.accelerator.free_memory()
            self.model = None

    def no_sync(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged with the last part of a batch alone."""
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def whole_counts(self, counts: Sequence[Float[Tensor, "k"]]) -> Float[Tensor, "k"]:
        """Counts of all parts of all processes, for each process's share of a mean of processes."""
        total = torch.stack(list(counts)).sum(0).to(self.device)
        return self.accelerator.reduce(total, "sum") / self.world

    def any_of(self, flag: bool | Bool[Tensor, ""]) -> bool:
        """Whether it is set in any process."""
        mine = torch.as_tensor(flag, device=self.device).float().reshape(1)
        return bool(self.accelerator.reduce(mine, "sum") > 0)

    def mean(self, values: Float[Tensor, "k"]) -> Float[Tensor, "k"]:
        """Over the processes."""
        return self.accelerator.reduce(values.to(self.device), "mean")

    def from_main(self, value: Any) -> Any:
        """What the main process gave, in all."""
        return broadcast_object_list([value])[0] if self.world > 1 else value

    def gathered(self, value: Any) -> list[Any]:
        """One value of each process, in all of them."""
        return gather_object([value]) if self.world > 1 else [value]

    def rng(self) -> list[list[Tensor]]:
        """torch's random state, of every process."""
        own = [torch.get_rng_state()]
        if self.device.type == "cuda":
            own.append(torch.cuda.get_rng_state(self.device))
        return self.gathered(own)

    def set_rng(self, states: Sequence[Sequence[Tensor]]) -> None:
        """A process that the states do not know keeps its own."""
        if self.rank >= len(states):
            return
        own = states[self.rank]
        torch.set_rng_state(own[0])
        if self.device.type == "cuda" and len(own) > 1:
            torch.cuda.set_rng_state(own[1], self.device)

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """Of the loss in fp16."""
        return self.accelerator.scaler


def parts_of_batch(batch: PoseBatch, n: int) -> list[PoseBatch]:
    """The crops in order in n parts of about the same size, in every process as many.

    Raises: ValueError for fewer crops than parts.
    """
    if len(batch) < n:
        raise ValueError(f"A process's {len(batch)} crops cannot be cut into {n} parts.")
    ends = [len(batch) * k // n for k in range(n + 1)]
    return [batch[first:stop] for first, stop in itertools.pairwise(ends)]
