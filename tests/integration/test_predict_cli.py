"""`python -m demo_app predict` on good, odd and bad pictures, a video, and everything at once."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from demo_app.cli import main
from models.geometry.rotations import geodesic_deg, matrix_from_ypr_300wlp

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
KEYS = [
    *("source", "frame_index", "time_s", "track_id", "box_xyxy_px", "confidence"),
    *("yaw_deg", "pitch_deg", "roll_deg", "R_cam_from_head", "t_cam_from_head_mm"),
    *("K_image_from_cam", "uncertainty_deg", "rotation_covariance_cam_rad2"),
    *("t_sigma_mm", "model"),
]


def photo() -> Image.Image:
    return Image.open(EXAMPLES / "astronaut.jpg").convert("RGB")


def save_cmyk(path: Path) -> None:
    photo().convert("CMYK").save(path, quality=95)


def save_rotated(path: Path) -> None:
    """Stored lying on its side, with the EXIF mark that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


def save_16_bit(path: Path) -> None:
    grey = np.asarray(photo().convert("L"), np.uint16) * 257
    Image.fromarray(grey).save(path)


def save_rgba(path: Path) -> None:
    picture = photo()
    picture.putalpha(255)
    picture.save(path)


ONE_FACE = {
    "plain.jpg": lambda path: photo().save(path, quality=95),
    "grey.png": lambda path: photo().convert("L").save(path),
    "rgba.png": save_rgba,
    "16bit.png": save_16_bit,
    "cmyk.jpg": save_cmyk,
    "rotated.jpg": save_rotated,
    "12mpx.jpg": lambda path: photo().resize((3464, 3464)).save(path, quality=85),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """All inputs in one run: the folder of inputs, that of results, the exit status."""
    inputs, out = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("out")
    for name, save in ONE_FACE.items():
        save(inputs / name)
    Image.new("RGB", (1, 1), "red").save(inputs / "1x1.png")
    (inputs / "text.jpg").write_text("no picture at all")
    (inputs / "corrupt.jpg").write_bytes((inputs / "plain.jpg").read_bytes()[:3000])
    (inputs / "empty.png").touch()
    (inputs / "other").mkdir()
    photo().save(inputs / "other" / "plain.jpg")
    files = [str(path) for path in sorted(inputs.rglob("*.*"))]
    status = main(["predict", *files, "--out", str(out), "--format", "json"])
    return inputs, out, status


def rows_of(out: Path, stem: str) -> list[dict]:
    return json.loads((out / f"{stem}.json").read_text())


def test_bad_inputs_fail_alone(
    results: tuple[Path, Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, out, status = results
    assert status == 1
    written = {path.name for path in out.iterdir()}
    assert not {"text.json", "corrupt.json", "empty.json"} & written
    assert len(written) == len(ONE_FACE) + 2  # the 1x1 picture and the second plain.jpg
    for name, word in (("text.jpg", "text"), ("corrupt.jpg", "damaged"), ("empty.png", "empty")):
        assert main(["predict", str(inputs / name), "--out", str(out / "again")]) == 1
        said = capsys.readouterr().out
        assert "FAILED" in said and word in said and "Traceback" not in said


@pytest.mark.parametrize("name", [name for name in ONE_FACE if name != "plain.jpg"])
def test_every_kind_of_picture_gives_the_same_head(
    results: tuple[Path, Path, int], name: str
) -> None:
    _, out, _ = results
    (row,) = rows_of(out, Path(name).stem)
    plain_stem = next(path.stem for path in out.iterdir() if path.stem.endswith("plain_jpg"))
    (plain,) = rows_of(out, plain_stem)
    assert geodesic_deg(np.array(row["R_cam_from_head"]), np.array(plain["R_cam_from_head"])) < 3.0
    assert row["t_cam_from_head_mm"][2] == pytest.approx(plain["t_cam_from_head_mm"][2], rel=0.05)


def test_one_pixel_has_no_head(results: tuple[Path, Path, int]) -> None:
    assert rows_of(results[1], "1x1") == []


def test_two_inputs_of_one_name_are_both_kept(results: tuple[Path, Path, int]) -> None:
    inputs, out, _ = results
    sources = {
        row["source"] for path in out.glob("*plain*.json") for row in json.loads(path.read_text())
    }
    assert sources == {str(inputs / "plain.jpg"), str(inputs / "other" / "plain.jpg")}


def test_rows_have_the_promised_columns(results: tuple[Path, Path, int]) -> None:
    inputs, out, _ = results
    (row,) = rows_of(out, "rotated")
    assert list(row) == KEYS
    assert row["source"] == str(inputs / "rotated.jpg")
    assert (row["frame_index"], row["time_s"], row["track_id"]) == (0, 0.0, 1)
    assert row["model"] == "trg-mini"
    R = np.array(row["R_cam_from_head"])
    assert R.shape == (3, 3) and np.abs(R @ R.T - np.eye(3)).max() < 1e-9
    again = matrix_from_ypr_300wlp(row["yaw_deg"], row["pitch_deg"], row["roll_deg"])
    assert np.abs(again - R).max() < 1e-9
    assert np.shape(row["K_image_from_cam"]) == (3, 3)
    left, top, right, bottom = row["box_xyxy_px"]
    assert 170 < left < right < 285 and 55 < top < bottom < 190, "in the upright picture"


def test_all_formats_and_drawing_of_a_group(tmp_path: Path) -> None:
    picture = str(EXAMPLES / "montage.jpg")
    options = ["--format", "json", "csv", "parquet", "glb", "--draw", "--fov-deg", "60"]
    assert main(["predict", picture, "--out", str(tmp_path), *options]) == 0
    rows = rows_of(tmp_path, "montage")
    assert len(rows) == 6
    half_width_px = Image.open(picture).width / 2
    assert rows[0]["K_image_from_cam"][0][0] == pytest.approx(
        half_width_px / np.tan(np.radians(30))
    )
    table = pq.read_table(tmp_path / "montage.parquet").to_pylist()
    assert [row["track_id"] for row in table] == [row["track_id"] for row in rows]
    assert len((tmp_path / "montage.csv").read_text().splitlines()) == 7
    assert (tmp_path / "montage.glb").read_bytes()[:4] == b"glTF"
    drawn = cv2.imread(str(tmp_path / "montage_annotated.jpg"))
    assert drawn.shape == cv2.imread(picture).shape
    assert np.abs(drawn.astype(int) - cv2.imread(picture)).mean() > 2


def test_given_intrinsics_are_used(tmp_path: Path) -> None:
    options = ["--K", "700", "720", "250", "260"]
    assert main(["predict", str(EXAMPLES / "astronaut.jpg"), "--out", str(tmp_path), *options]) == 0
    (row,) = rows_of(tmp_path, "astronaut")
    assert row["K_image_from_cam"] == [[700, 0, 250], [0, 720, 260], [0, 0, 1]]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--fov-deg", "60", "--exif"], "not several"),
        (["--model", "trg"], "state_dict.bin"),
    ],
)
def test_wrong_usage_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], word: str
) -> None:
    checkpoint = Path(__file__).parents[2] / "checkpoint" / "trg_single_240717"
    if "trg" in options and checkpoint.exists():
        pytest.skip("the released checkpoint is here")
    picture = str(EXAMPLES / "astronaut.jpg")
    assert main(["predict", picture, "--out", str(tmp_path), *options]) == 2
    assert word in capsys.readouterr().err


def test_exif_is_insisted_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(EXAMPLES / "astronaut.jpg")
    assert main(["predict", picture, "--out", str(tmp_path), "--exif"]) == 1
    assert "EXIF" in capsys.readouterr().out


def test_video_gives_rows_and_a_playable_copy(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    picture = np.asarray(photo())[:320, 60:460]
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = 400, 320, "yuv420p"
        for shift in range(12):
            moved = np.roll(picture, 2 * shift, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode(None))
    out = tmp_path / "out"
    assert main(["predict", str(clip), "--out", str(out), "--draw", "--format", "json"]) == 0
    rows = rows_of(out, "clip")
    assert [row["frame_index"] for row in rows] == list(range(12))
    assert {row["track_id"] for row in rows} == {1}
    assert rows[11]["time_s"] == pytest.approx(11 * 1001 / 30000, abs=1e-3)
    x_mm = [row["t_cam_from_head_mm"][0] for row in rows]
    assert x_mm[11] > x_mm[0] + 20, "the head moves to image right"
    with av.open(str(out / "clip_annotated.mp4")) as container:
        video = container.streams.video[0]
        assert video.codec_context.name == "h264" and video.average_rate == Fraction(30000, 1001)
        assert sum(1 for _ in container.decode(video)) == 12
    assert not list(out.glob("*.jsonl"))
