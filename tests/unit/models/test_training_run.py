"""The training loop: it learns, it resumes to the same weights, it stops, it survives damage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.training.checkpoints import (
    checkpoint_paths,
    newest_checkpoint,
    read_best,
    read_checkpoint,
    weights_path,
)
from models.training.config import TrainConfig
from models.training.initialisation import (
    build_mini_network,
    freeze_all_but_heads,
    freeze_stem,
    load_matching_weights,
    read_face_basis,
)
from models.training.optimisation import GradientClip, build_optimizer, lr_factor
from models.training.run_log import say_to_file
from models.training.trainer import Callbacks, TrainingError, TrainResult, fit
from models.trg.batch import PoseBatch
from models.trg.config import TrgConfig
from models.trg.network import Trg
from tests.unit.models.small_trg import (
    random_batch,
    random_batches,
    small_basis,
    small_config,
    small_network,
)

FOUR_STEPS = TrainConfig(
    steps=4,
    batch_size=4,
    lr=1e-3,
    warmup_steps=2,
    threads=1,
    log_every=1,
    validate_every=2,
    checkpoint_every=2,
    keep_checkpoints=5,
)


def run(
    folder: Path, config: TrainConfig = FOUR_STEPS, stop_after: int | None = None
) -> tuple[Trg, TrainResult, list[str]]:
    """The network in training, the result, what was said."""
    network, said = small_network(), []
    asked = iter(range(1, 1000))
    callbacks = (
        Callbacks()
        if stop_after is None
        else Callbacks(should_stop=lambda: next(asked) > stop_after)
    )
    result = fit(network, config, random_batches, folder, said.append, callbacks=callbacks)
    return network, result, said


def lines(folder: Path, kind: str) -> list[dict]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == kind]


def assert_same_weights(a: Trg, b: Trg) -> None:
    theirs = b.state_dict()
    different = [name for name, value in a.state_dict().items() if not value.equal(theirs[name])]
    assert not different


def test_resuming_equals_no_interruption(tmp_path: Path) -> None:
    """Weights, averaged weights and the log; dropout is on, so the random state counts too."""
    whole, whole_result, _ = run(tmp_path / "whole")
    _, first, _ = run(tmp_path / "parts", stop_after=2)
    assert first.stopped and first.steps_done == 2
    rest, rest_result, said = run(tmp_path / "parts")
    assert rest_result.steps_done == 4 and not rest_result.stopped
    assert any("resumed after step 2" in text for text in said)
    assert_same_weights(whole, rest)
    assert_same_weights(whole_result.network, rest_result.network)
    losses = [[r["loss_total"] for r in lines(tmp_path / f, "train")] for f in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert not whole_result.network.training


def test_a_damaged_checkpoint_is_passed_over_and_later_lines_come_again(tmp_path: Path) -> None:
    whole, _, _ = run(tmp_path)
    newest = checkpoint_paths(tmp_path / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-2000])
    said: list[str] = []
    found = newest_checkpoint(tmp_path / "checkpoints", said.append)
    assert found is not None and found.step == 2
    assert len(said) == 1 and newest.name in said[0] and "WARNING" in said[0]
    (tmp_path / "metrics.jsonl").open("a").write('{"kind": "tra')
    again, result, _ = run(tmp_path)
    assert result.steps_done == 4
    assert_same_weights(whole, again)
    assert [record["step"] for record in lines(tmp_path, "train")] == [1, 2, 3, 4]
    assert not list(tmp_path.rglob("*.partial"))


def test_old_checkpoints_go_and_another_network_is_refused(tmp_path: Path) -> None:
    run(tmp_path, replace(FOUR_STEPS, checkpoint_every=1, keep_checkpoints=2))
    names = [path.name for path in checkpoint_paths(tmp_path / "checkpoints")]
    assert names == ["step-00000003.pt", "step-00000004.pt"]
    other = small_network(hidden=8)
    with pytest.raises(ValueError, match="another network"):
        fit(other, FOUR_STEPS, random_batches, tmp_path, lambda _: None)
    fresh = fit(other, FOUR_STEPS, random_batches, tmp_path, lambda _: None, resume=False)
    assert fresh.steps_done == 4


def test_it_learns_a_batch_by_heart(tmp_path: Path) -> None:
    config = replace(FOUR_STEPS, steps=160, lr=1e-2, log_every=10, checkpoint_every=200)
    network = small_network(dropout=0.0)

    def same_again(start_step: int) -> Iterator[PoseBatch]:
        while True:
            yield random_batch(0)

    fit(network, config, same_again, tmp_path, lambda _: None)
    told = lines(tmp_path, "train")
    for part in ("loss_crop", "loss_rotation", "loss_presence", "loss_uncertainty"):
        assert told[-1][part] < told[0][part] - 0.2 * abs(told[0][part]), part
    assert told[-1]["images_per_s"] > 0 and 0 <= told[-1]["waiting_share"] < 1


def test_validation_sees_the_averaged_network_first_and_last(tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []
    network = small_network()
    start = {name: value.clone() for name, value in network.state_dict().items()}

    def validate(average: Trg) -> dict[str, float]:
        torch.rand(3)  # a validation may use random numbers
        moved = any(not v.equal(start[n]) for n, v in average.state_dict().items())
        seen.append((average.training or average is network, moved))
        return {"geodesic_mean_deg": float(len(seen))}

    fit(
        network,
        FOUR_STEPS,
        random_batches,
        tmp_path / "a",
        lambda _: None,
        callbacks=Callbacks(validate),
    )
    assert seen == [(False, False), (False, True), (False, True)]
    assert [(r["step"], r["geodesic_mean_deg"]) for r in lines(tmp_path / "a", "validation")] == [
        (0, 1.0),
        (2, 2.0),
        (4, 3.0),
    ]
    without, _, _ = run(tmp_path / "b")
    assert_same_weights(network, without)


def test_a_stop_file_ends_the_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "STOP").touch()
    _, result, said = run(tmp_path)
    assert result.stopped and result.steps_done == 1 and any("stopped" in text for text in said)
    assert not (tmp_path / "STOP").exists(), "obeyed once"
    assert newest_checkpoint(tmp_path / "checkpoints", said.append).step == 1
    assert run(tmp_path)[1].steps_done == 4


def test_steps_without_a_finite_gradient_are_skipped_and_counted(tmp_path: Path) -> None:
    bad_steps = {1, 2}

    def batches(start_step: int) -> Iterator[PoseBatch]:
        for i, batch in enumerate(random_batches(start_step), start_step):
            t = batch.t_cam_from_model_m.clone()
            t[0, 0] = math.nan if i in bad_steps else t[0, 0]
            yield replace(batch, t_cam_from_model_m=t)

    network, said = small_network(), []
    patient = replace(FOUR_STEPS, max_bad_steps=3)
    result = fit(network, patient, batches, tmp_path / "a", said.append)
    assert result.skipped_steps == 2 and result.steps_done == 4
    assert all(torch.isfinite(v).all() for v in result.network.state_dict().values())
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())
    with pytest.raises(TrainingError, match="2 steps in a row"):
        give_up = replace(FOUR_STEPS, max_bad_steps=2)
        fit(small_network(), give_up, batches, tmp_path / "b", said.append)


def test_nan_stops_the_run_and_saves_the_batch(tmp_path: Path) -> None:
    def batches(start_step: int) -> Iterator[PoseBatch]:
        for i, batch in enumerate(random_batches(start_step), start_step):
            boxes = batch.ray_boxes.clone()
            boxes[0, 2] = math.nan if i == 3 else boxes[0, 2]
            yield replace(batch, ray_boxes=boxes)

    network, said = small_network(), []
    with pytest.raises(TrainingError, match="batch is saved"):
        fit(network, FOUR_STEPS, batches, tmp_path, said.append)
    assert all(torch.isfinite(v).all() for v in network.state_dict().values())
    with np.load(tmp_path / "bad_batch_rank0.npz") as saved:
        assert int(saved["step"]) == 3 and np.isnan(saved["ray_boxes"]).sum() == 1
        assert np.array_equal(saved["crops_rgb"], random_batch(1003).crops_rgb.numpy())
    found = newest_checkpoint(tmp_path / "checkpoints", said.append)
    assert found is not None and found.step == 2, "the checkpoints before are good"


def test_the_best_by_validation_is_kept(tmp_path: Path) -> None:
    values = iter([0.1, 5.0, 3.0, 4.0, 6.0])

    def validate(average: Trg) -> dict[str, float]:
        return {"geodesic_mean_deg": next(values)}

    often = replace(FOUR_STEPS, validate_every=1, checkpoint_every=1, keep_checkpoints=1)
    callbacks = Callbacks(validate)
    fit(small_network(), often, random_batches, tmp_path, lambda _: None, callbacks=callbacks)
    folder = tmp_path / "checkpoints"
    best = read_best(folder)
    assert best is not None and (best.step, best.value) == (2, 3.0), "not the one before training"
    assert [path.name for path in checkpoint_paths(folder)] == [
        "step-00000002.pt",
        "step-00000004.pt",
    ]
    assert read_checkpoint(folder / best.checkpoint).metrics == {"geodesic_mean_deg": 3.0}


def test_going_on_from_an_older_checkpoint_forgets_the_later_ones(tmp_path: Path) -> None:
    whole, _, _ = run(tmp_path)
    older = checkpoint_paths(tmp_path / "checkpoints")[0]
    network = small_network()
    more = replace(FOUR_STEPS, steps=4, log_every=1)
    fit(network, more, random_batches, tmp_path, lambda _: None, resume=older)
    assert_same_weights(whole, network)
    assert [record["step"] for record in lines(tmp_path, "train")] == [1, 2, 3, 4]


def test_weights_of_another_moment_are_passed_over(tmp_path: Path) -> None:
    run(tmp_path)
    older, newer = checkpoint_paths(tmp_path / "checkpoints")
    weights_path(newer).write_bytes(weights_path(older).read_bytes())
    with pytest.raises(ValueError, match="same moment"):
        read_checkpoint(newer)
    found = newest_checkpoint(tmp_path / "checkpoints", lambda _: None)
    assert found is not None and found.step == 2


def test_the_released_schedule_falls_once() -> None:
    config = TrainConfig(steps=300, warmup_steps=0, schedule="drop", lr_drop_at=20 / 30)
    factors = [lr_factor(step, config) for step in (0, 199, 200, 299)]
    assert factors == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_batches_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="4 crops, not 5"):
        config = replace(FOUR_STEPS, batch_size=5)
        fit(small_network(), config, random_batches, tmp_path, lambda _: None)
    with pytest.raises(ValueError, match="4 crops cannot be cut into 5 parts"):
        config = replace(FOUR_STEPS, gradient_accumulation=5)
        fit(small_network(), config, random_batches, tmp_path, lambda _: None)
    with pytest.raises(TrainingError, match="no batches left at step 1"):
        one = [random_batch(0)]
        fit(small_network(), FOUR_STEPS, lambda _: one, tmp_path, lambda _: None)
    with pytest.raises(ValueError, match="ema_decay"):
        replace(FOUR_STEPS, ema_decay=1.0)


def test_a_frozen_stem_stays_and_the_rest_moves(tmp_path: Path) -> None:
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = replace(FOUR_STEPS, freeze_stem=True, precision="bf16")
    fit(network, config, random_batches, tmp_path, lambda _: None)
    moved = {n for n, v in network.state_dict().items() if not v.equal(before[n])}
    frozen = ("feature_extractor.stem", "feature_extractor.stage_96")
    assert not [name for name in moved if name.startswith(frozen)]
    assert "feature_extractor.stage_48.0.depthwise.weight" in moved and "mesh_basis" in moved
    with pytest.raises(ValueError, match="facemesh"):
        freeze_stem(Trg(TrgConfig.released(), np.arange(305)))


def test_the_heads_alone_learn_and_the_poses_stay(tmp_path: Path) -> None:
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = replace(FOUR_STEPS, heads_only=True)
    fit(network, config, random_batches, tmp_path, lambda _: None)
    moved = {n for n, v in network.state_dict().items() if not v.equal(before[n])}
    assert moved and all(n.startswith(("presence_head.", "uncertainty_head.")) for n in moved)
    assert {"presence_head.fc1.weight", "uncertainty_head.fc2.bias"} <= moved
    with pytest.raises(ValueError, match="heads_only"):
        freeze_all_but_heads(Trg(TrgConfig.released(), np.arange(305)))


def test_rates_and_clips_by_group() -> None:
    network = small_network()
    config = TrainConfig(steps=1000, lr=1.0, warmup_steps=10)
    optimizer = build_optimizer(network, config)
    rate = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rate[id(network.mesh_basis)] == pytest.approx(0.02)
    assert rate[id(network.feature_extractor.stem.weight)] == pytest.approx(0.4)
    assert rate[id(network.regressor[0].fc1.weight)] == 1.0
    assert len(rate) == len(list(network.parameters()))
    assert lr_factor(0, config) == pytest.approx(0.1) and lr_factor(9, config) > 0.999
    assert lr_factor(500, config) == pytest.approx(0.5075, abs=1e-3)
    assert lr_factor(1000, config) == pytest.approx(0.015)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 1e-6)
    head = network.uncertainty_head.fc1.weight
    head.grad.fill_(1e6)
    norm = GradientClip(network, 20.0)()
    assert norm > 1e6
    assert head.grad.norm() == pytest.approx(20.0, rel=1e-3)
    assert network.mesh_basis.grad.max() == pytest.approx(1e-6), "the pose does not pay for it"


def test_a_new_network_answers_with_the_mean_face() -> None:
    network = small_network(dropout=0.0).eval()
    blocks = network.feature_extractor.stage_24
    x = torch.randn(1, 64, 5, 5)
    assert torch.equal(blocks[-1](x), x) and not torch.equal(blocks[-2](x), x)
    mean = torch.from_numpy(small_basis().mean_vertices_m).float()
    assert torch.equal(network.regressor[2].init_face[0], mean)
    assert torch.allclose(
        network.mesh_basis, torch.from_numpy(small_basis().basis_m).float(), atol=1e-7
    )
    with pytest.raises(ValueError, match="basis"):
        build_mini_network(small_basis(), small_config(n_shape_coefficients=5))


def test_weights_are_taken_over_by_name_and_shape() -> None:
    source, target = small_network(1, extra_blocks=0, uncertainty_head=False), small_network(2)
    weights = {**source.state_dict(), "mesh_basis": torch.zeros(3, 12, 3)}
    untouched = target.uncertainty_head.fc1.weight.clone()
    report = load_matching_weights(target, weights)
    assert report.other_shape == ("mesh_basis",) and not report.unused
    assert "uncertainty_head.fc1.weight" in report.absent
    assert "feature_extractor.stage_24.3.depthwise.weight" in report.absent
    stem = "feature_extractor.stem.weight"
    assert stem in report.loaded and torch.equal(target.state_dict()[stem], weights[stem])
    assert torch.equal(target.uncertainty_head.fc1.weight, untouched)
    backbone = {**source.feature_extractor.state_dict(), "new": torch.zeros(1)}
    part = load_matching_weights(small_network(3), backbone, prefix="feature_extractor.")
    assert part.unused == ("feature_extractor.new",) and stem in part.loaded
    assert "1 unused" in part.summary()


def test_a_face_basis_survives_its_file(tmp_path: Path) -> None:
    arrays = {
        n: v.astype(np.float32 if v.dtype.kind == "f" else np.int32)
        for n, v in vars(small_basis()).items()
    }
    np.savez(tmp_path / "basis.npz", **arrays)
    again = read_face_basis(tmp_path / "basis.npz")
    assert np.allclose(again.basis_m, small_basis().basis_m)
    assert again.bundle_arrays().triangles.tolist() == [[0, 1, 2], [3, 4, 5]]
    np.savez(tmp_path / "less.npz", mean_vertices_m=again.mean_vertices_m)
    with pytest.raises(ValueError, match="basis_m"):
        read_face_basis(tmp_path / "less.npz")


def test_the_log_has_times(tmp_path: Path) -> None:
    also: list[str] = []
    say_to_file(tmp_path / "runs" / "train.log", also.append)("hello")
    assert (tmp_path / "runs" / "train.log").read_text().endswith(" hello\n")
    assert also[0].startswith("20") and also[0].endswith("hello")
