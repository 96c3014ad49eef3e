"""Videos and folders in a real browser: progress, a cancel that keeps what was done, any frame."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import Page

pytestmark = [pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(240)]

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
FPS = 10


@pytest.fixture(scope="module")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """A video of the astronaut drifting to the right, with a tone, of so many frames."""
    photo = cv2.resize(cv2.imread(str(EXAMPLES / "astronaut.jpg")), (512, 512))

    def make(name: str, frames: int) -> Path:
        path = tmp_path_factory.mktemp("video") / name
        with av.open(str(path), "w") as file:
            picture = file.add_stream("libx264", rate=FPS)
            picture.width, picture.height, picture.pix_fmt = 480, 360, "yuv420p"
            sound = file.add_stream("aac", rate=16000, layout="mono")
            for number in range(frames):
                shift = np.float32([[1, 0, 20 + 60 * number / frames], [0, 1, 40]])
                moved = cv2.warpAffine(photo, shift, (480, 360), borderMode=cv2.BORDER_REPLICATE)
                file.mux(picture.encode(av.VideoFrame.from_ndarray(moved, format="bgr24")))
            tone = np.sin(np.arange(16000 * frames // FPS) * 0.2).astype(np.float32)[None]
            heard = av.AudioFrame.from_ndarray(tone * 0.1, format="fltp", layout="mono")
            heard.sample_rate, heard.time_base = 16000, Fraction(1, 16000)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=16000, frame_size=1024)
            for part in [*resampler.resample(heard), *resampler.resample(None)]:
                file.mux(sound.encode(part))
            for stream in (picture, sound):
                file.mux(stream.encode(None))
        return path

    return make


def _download(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(f"#pose-download-{name}")
    return Path(waiting.value.path()).read_bytes()


def _give_video(page: Page, path: Path) -> None:
    page.get_by_role("tab", name="Video").click()
    page.set_input_files("#pose-video input[type=file]", path)
    page.wait_for_selector("#pose-video video", state="attached")


def test_a_video_gives_a_player_a_plot_and_every_frame(
    page: Page, make_video: Callable[[str, int], Path]
) -> None:
    _give_video(page, make_video("talk.mp4", 20))
    page.click("#pose-run-video")
    page.wait_for_selector("#pose-video-player video")
    page.wait_for_selector("#pose-table table.faces")
    assert "20 frames" in page.inner_text("#pose-video-progress")
    page.wait_for_selector("#pose-time .js-plotly-plot .legend", state="attached")
    names = page.evaluate(
        "document.querySelector('#pose-time .js-plotly-plot').data.map(t => t.name)"
    )
    assert {"yaw", "yaw raw", "z", "z raw"} <= set(names)
    page.wait_for_function(
        "() => document.querySelector('#pose-video-player video').duration > 1.5"
    )

    with av.open(io.BytesIO(_download(page, "video"))) as file:
        assert sum(1 for _ in file.decode(video=0)) == 20
        assert file.streams.audio and file.streams.video[0].codec_context.name == "h264"
    rows = json.loads(_download(page, "json"))
    assert [row["frame_index"] for row in rows] == list(range(20))
    assert {row["source"] for row in rows} == {"talk.mp4"}
    assert rows[-1]["t_cam_from_head_mm"][0] > rows[0]["t_cam_from_head_mm"][0]

    page.fill("#pose-frame input[type=number]", "15")
    page.press("#pose-frame input[type=number]", "Enter")
    page.wait_for_function(
        "x => document.querySelector('#pose-table [data-field=x]').innerText === x",
        arg=f"{rows[15]['t_cam_from_head_mm'][0]:.0f}",
    )


def test_cancel_keeps_what_was_done(page: Page, make_video: Callable[[str, int], Path]) -> None:
    _give_video(page, make_video("long.mp4", 900))
    page.click("#pose-run-video")
    page.wait_for_function(
        "() => parseInt(document.querySelector('#pose-video-progress .status')?.innerText) > 5"
    )
    page.click("#pose-cancel-video")
    page.wait_for_selector("#pose-video-player video")
    assert "Cancelled after" in page.inner_text("#pose-video-progress")
    rows = list(csv.DictReader(io.StringIO(_download(page, "csv").decode())))
    assert 5 < len(rows) < 900
    with av.open(io.BytesIO(_download(page, "video"))) as file:
        assert sum(1 for _ in file.decode(video=0)) == len({row["frame_index"] for row in rows})
    assert page.is_enabled("#pose-run-video")


def test_several_pictures_go_on_past_a_bad_one(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "broken.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + b"nonsense" * 20)
    page.get_by_role("tab", name="Folder").click()
    files = [EXAMPLES / "astronaut.jpg", bad, EXAMPLES / "montage.jpg"]
    page.set_input_files("#pose-files input[type=file]", files)
    page.wait_for_function(
        "() => document.querySelector('#pose-files').innerText.includes('broken')"
    )
    page.click("#pose-run-folder")
    page.wait_for_selector("#pose-table table.faces")
    said = page.inner_text("#pose-folder-progress")
    assert "2 pictures" in said and "broken.png" in said
    page.click("#pose-folder-next")
    page.wait_for_function("() => document.querySelectorAll('#pose-table tbody tr').length > 1")
    with zipfile.ZipFile(io.BytesIO(_download(page, "zip"))) as archive:
        assert archive.namelist() == ["astronaut_annotated.jpg", "montage_annotated.jpg"]
    sources = [row["source"] for row in json.loads(_download(page, "json"))]
    assert set(sources) == {"astronaut.jpg", "montage.jpg"}


def test_a_page_that_closes_leaves_no_files(page: Page, app: object) -> None:
    page.set_input_files("#pose-photo input[type=file]", EXAMPLES / "astronaut.jpg")
    page.wait_for_selector("#pose-table table.faces")
    visitors = set(app.uploads.glob("visitor-*"))
    assert visitors
    page.goto("about:blank")
    page.wait_for_timeout(500)
    for _ in range(60):
        if len(set(app.uploads.glob("visitor-*"))) < len(visitors):
            return
        page.wait_for_timeout(500)
    pytest.fail("the closed page's folder is still there")
