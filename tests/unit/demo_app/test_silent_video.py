"""Pictures as a video: all of them, in their size and pace."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from demo_app.inference.silent_video import write_silent_mp4


def test_pictures_become_a_video(tmp_path: Path) -> None:
    path = tmp_path / "turntable.mp4"
    frames = [np.full((60, 81, 3), 40 * k, np.uint8) for k in range(5)]
    assert write_silent_mp4(path, iter(frames), fps=25) == 5
    with av.open(str(path)) as file:
        seen = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 25)
        assert not file.streams.audio
    assert [round(float(frame.mean()) / 40) for frame in seen] == [0, 1, 2, 3, 4]
    assert seen[0].shape == (60, 82, 3)


def test_no_picture_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture"):
        write_silent_mp4(tmp_path / "a.mp4", iter(()))
    assert not list(tmp_path.iterdir())


def test_a_frame_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("drawing failed")

    with pytest.raises(RuntimeError, match="drawing failed"):
        write_silent_mp4(tmp_path / "a.mp4", frames())
    assert not list(tmp_path.glob(".*"))
