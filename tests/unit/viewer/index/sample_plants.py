"""Errors to plant into copies of the bundled sample sets, as they happen in real files."""

from __future__ import annotations

import csv
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat, savemat

from viewer.datasets.arkitface import arkit_camera
from viewer.datasets.biwi_files import read_depth
from viewer.datasets.npz_file import read_npz
from viewer.datasets.registry import open_dataset
from viewer.datasets.three_hundred_w_lp import twin_of

Array = np.ndarray
Plants = dict[str, set[str]]
"""Check -> keys where it must find something."""

MIRROR = np.diag([-1.0, 1.0, 1.0])


def plant_biwi(root: Path) -> Plants:
    """A wrong label in every third frame or so of two sequences of 15."""
    keys = open_dataset("biwi", root).list_samples().keys
    a, b = (tuple(k for k in keys if k.startswith(s)) for s in ("91/", "92/"))
    hpdb = root / "hpdb"

    def pose(key: str, change: Callable[[Array, Array], tuple[Array, Array]]) -> None:
        path = hpdb / f"{key}_pose.txt"
        numbers = np.array(path.read_text().split(), float)
        R, t_mm = change(numbers[:9].reshape(3, 3), numbers[9:])
        rows = [" ".join(f"{x:.7g}" for x in row) + " " for row in (*R, t_mm)]
        path.write_text("\n".join([*rows[:3], "", rows[3], ""]))

    pose(a[0], lambda R, t: (R * [[-1], [1], [1]], t))
    pose(a[2], lambda R, t: (MIRROR @ R @ MIRROR, t))
    pose(a[4], lambda R, t: (R, t * [1, 1, -1]))
    pose(a[6], lambda R, t: (R, t + np.array([90.0, 0, 0])))
    turn = cv2.Rodrigues(np.array([0, 0.3, 0]))[0]
    pose(b[10], lambda R, t: (turn @ R, t))
    (hpdb / f"{a[10]}_rgb.jpg").unlink()
    (hpdb / f"{a[10]}_rgb.png").write_text("<html>404</html>")
    small = cv2.resize(cv2.imread(str(hpdb / f"{a[12]}_rgb.jpg")), (320, 240))
    cv2.imwrite(str(hpdb / f"{a[12]}_rgb.jpg"), small)
    (hpdb / f"{a[14]}_depth.bin").write_bytes((hpdb / f"{a[14]}_depth.bin").read_bytes()[:-9])
    _deepen(hpdb / f"{b[0]}_depth.bin", 60)
    (hpdb / f"{b[2]}_pose.txt").write_text("1 0 0\n0 1 0\n")
    boxes = hpdb / "annot_mtcnn_fan.pkl"
    content = pickle.loads(boxes.read_bytes())
    content["pred_kpt"][f"{b[4]}_rgb.png"] -= [[220.0, 0, 0]]
    boxes.write_bytes(pickle.dumps(content))
    (hpdb / f"{b[6]}_rgb.jpg").write_bytes((hpdb / f"{a[1]}_rgb.jpg").read_bytes())
    again = cv2.convertScaleAbs(cv2.imread(str(hpdb / f"{a[3]}_rgb.jpg")), alpha=0.8, beta=20)
    cv2.imwrite(str(hpdb / f"{b[8]}_rgb.jpg"), again, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return {
        "rotation": {a[0]},
        "nose_sign": {a[2]},
        "distance": {a[4]},
        "jump_mm": {a[6]},
        "jump_deg": {b[10]},
        "picture_unreadable": {a[10]},
        "picture_size": {a[12]},
        "unusual_size": {a[12]},
        "depth_mm": {b[0]},
        "label_unreadable": {a[14], b[2]},
        "box_iou": {b[4]},
        "duplicate": {a[1], b[6]},
        "near_duplicate": {a[3], b[8]},
    }


def _deepen(path: Path, by_mm: int) -> None:
    """The whole depth image, written as one run."""
    depth_mm = read_depth(path).depth_mm
    moved = np.where(depth_mm > 0, depth_mm + by_mm, 0).astype("<i2")
    head = np.array([*depth_mm.shape[::-1], 0, moved.size], "<i4")
    path.write_bytes(head.tobytes() + moved.tobytes())


def plant_arkitface(root: Path) -> Plants:
    """A flipped z axis, a K of other pictures, a missing picture, a subject in both lists."""
    keys = open_dataset("arkitface", root).list_samples().keys
    behind, shifted, absent = keys[1], keys[5], keys[9]

    def file(key: str, kind: str, ending: str) -> Path:
        split, *parts = key.split("/")
        return root / f"ARKitFace_{kind}_{split}" / kind / ("/".join(parts) + ending)

    labels = read_npz(file(behind, "info", "_info.npz"))[0]
    R_t = labels["R_t"].copy()
    R_t[3, 2] *= -1
    np.savez(file(behind, "info", "_info.npz"), verts=labels["verts"], R_t=R_t)
    detail = open_dataset("arkitface", root).detail(shifted)
    assert np.allclose(
        arkit_camera().project(detail.landmarks_68_m), detail.sample.landmarks_68_px, atol=1e-6
    )
    points = (detail.sample.landmarks_68_px + np.array([30.0, 0])).astype(int)
    path = root / "68landmarks" / ("/".join(shifted.split("/")[1:]) + "_68landmarks.txt")
    path.parent.mkdir(parents=True)
    np.savetxt(path, points, fmt="%d")
    file(absent, "image", "_ar.jpg").unlink()
    train = [key for key in keys if key.startswith("train/")]
    subject, action, img_id = train[0].split("/")[1:]
    moved = f"test/{subject}/{action}/{img_id}"
    for kind, ending in (("info", "_info.npz"), ("image", "_ar.jpg")):
        target = file(moved, kind, ending)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file(train[0], kind, ending), target)
    _move_row(root / "ARKitFace_list" / "list", img_id)
    people = {key for key in train[1:] if key.split("/")[1] == subject} | {moved}
    return {
        "distance": {behind},
        "reprojection": {shifted},
        "picture_missing": {absent},
        "split_person": people,
    }


def _move_row(lists: Path, img_id: str) -> None:
    """From the list of train to that of test."""
    rows = {name: list(csv.reader((lists / name).open())) for name in _LISTS}
    (row,) = (row for row in rows[_LISTS[0]] if row[2] == img_id)
    rows[_LISTS[0]].remove(row)
    rows[_LISTS[1]].append(row)
    for name, lines in rows.items():
        with (lists / name).open("w", newline="") as file:
            csv.writer(file).writerows(lines)


_LISTS = ("ARKitFace_train.csv", "ARKitFace_test.csv")


def plant_300w_lp(root: Path) -> Plants:
    """A twin with another pose, one with points that were not renumbered, one shared pt2d."""

    def change(key: str, **values: Array) -> None:
        path = root / f"{key}.mat"
        labels = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
        savemat(path, labels | values, do_compression=True)

    turned, twin = "AFW/AFW_100101_1_1", "AFW_Flip/AFW_100101_1_1"
    pose = loadmat(root / f"{twin}.mat")["Pose_Para"].copy()
    pose[0, 0] += 0.2
    change(twin, Pose_Para=pose)
    numbered, other = "HELEN/HELEN_200103_1_2", "HELEN_Flip/HELEN_200103_1_2"
    points = loadmat(root / f"{numbered}.mat")["pt2d"]
    change(other, pt2d=np.stack([451.0 - points[0], points[1]]))
    views = [f"IBUG/IBUG_300105_1_{k}" for k in range(4)]
    shared = loadmat(root / f"{views[0]}.mat")["pt2d"]
    for view in views[1:]:
        change(view, pt2d=shared)
    return {
        "flip_pose": {turned, twin},
        "flip_landmarks": {numbered, other, *views[1:], *(twin_of(view) for view in views[1:])},
        "shared_landmarks": set(views),
    }


def plant_mica(root: Path) -> Plants:
    """An improbable shape, an open jaw, an expression."""
    paths = sorted(root.rglob("*.npz"))
    keys = open_dataset("mica", root).list_samples().keys
    plants: Plants = {}
    for path, (check, field, place, value) in zip(
        paths,
        (
            ("betas_sd", "betas", 7, 3.4),
            ("jaw_deg", "pose", 6, 0.2),
            ("expression_sd", "betas", 340, 1.5),
        ),
        strict=False,
    ):
        arrays = {name: array.copy() for name, array in read_npz(path)[0].items()}
        arrays[field][place] = value
        np.savez(path, **arrays)
        plants[check] = {key for key in keys if path.parent.name in key.split("/")}
    return plants


PLANTERS: dict[str, Callable[[Path], Plants]] = {
    "biwi": plant_biwi,
    "arkitface": plant_arkitface,
    "300w-lp": plant_300w_lp,
    "mica": plant_mica,
}
