"""What a run learns from and is judged by, of any recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from demo_app.recipes.setup import Place, RunData
from demo_app.run_config import DataPart, RunConfig
from models.training.crop_pool import (
    CropPool,
    MirrorOrder,
    fresh_batches_of,
    reused_batches,
)
from models.trg.batch import PoseBatch
from viewer.datasets.augment_config import AugmentConfig, TrgAugmentConfig
from viewer.datasets.network_input import NetworkInput
from viewer.datasets.pose_batches import build_batches, validation_batches
from viewer.datasets.source import DatasetError
from viewer.datasets.training_parts import VALIDATION, open_part
from viewer.datasets.weak_perspective import MIRROR_68

VALIDATION_CROPS = 800
"""Of each validation part without a limit of its own."""


def build_data(
    config: RunConfig,
    target: NetworkInput,
    augment: AugmentConfig | TrgAugmentConfig,
    place: Place,
    more: Sequence[DataPart] = (),
) -> RunData:
    """more: parts beside those of the configuration. Raises: DatasetError."""
    source = build_batches(
        (*config.data, *more),
        target,
        augment,
        batch_size=config.train.batch_size,
        seed=config.seed,
    )

    def fresh(start_step: int, stop_step: int) -> Iterator[PoseBatch]:
        return source.batches(
            start_step,
            stop_step,
            workers=config.workers,
            rank=place.rank,
            world=place.world,
            pin_memory=place.device.type == "cuda",
        )

    uses = config.train.crop_uses

    def reused(start_step: int, stop_step: int) -> Iterator[PoseBatch]:
        mirror = MirrorOrder(target.mirror_vertex_ids, MIRROR_68)
        paired = config.train.loss.mirror > 0.0
        pool = CropPool(mirror, place.device, (config.seed, place.rank), paired=paired)
        count = fresh_batches_of(stop_step - start_step, uses)
        steps = range(start_step, stop_step)
        return reused_batches(fresh(start_step, start_step + count), steps, uses, pool)

    validation = {
        f"{part.dataset}_{part.split}": list(
            validation_batches([part], target, rank=place.rank, world=place.world)
        )
        for part in validation_parts(config, target)
    }
    return RunData(fresh if uses == 1 else reused, source.samples_per_epoch, validation)


def validation_parts(config: RunConfig, target: NetworkInput) -> tuple[DataPart, ...]:
    """Those that are named; else the validation parts of the data sets that have one with poses,
    with portraits for synthetic heads. Each with a limit."""
    chosen = config.validation or tuple(
        part for data in config.data for part in _held_out(data) if _is_usable(part, target)
    )
    return tuple(
        part if part.limit is not None else replace(part, limit=VALIDATION_CROPS) for part in chosen
    )


def _held_out(part: DataPart) -> list[DataPart]:
    names = [VALIDATION, f"{VALIDATION}-portraits"] if part.dataset == "synthetic" else [VALIDATION]
    return [replace(part, split=name, weight=1.0, limit=None) for name in names]


def _is_usable(part: DataPart, target: NetworkInput) -> bool:
    try:
        faces = open_part(replace(part, limit=1), as_released=target.boxes_of_landmarks)
        return not faces.face(0).is_flat
    except DatasetError:
        return False
