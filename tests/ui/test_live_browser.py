"""Live mode in a real browser: overlays on their own frames, one in flight, a clean stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.ui

BITS, BIT_PX = 8, 20
OVERLAYS = 100
NEAR_PX = 30.0
"""Between the middle of the drawn box and the face; the face is 150 pixels wide."""

RECORD = """([bits, size]) => {
  const live = document.querySelector('.live'), canvas = live.querySelector('.live-canvas');
  window.seen = [];
  new MutationObserver(() => {
    const row = canvas.getContext('2d').getImageData(0, canvas.height - size / 2, bits * size, 1).data;
    let number = 0;
    for (let bit = 0; bit < bits; bit += 1) if (row[4 * (bit * size + size / 2)] > 127) number |= 1 << bit;
    const shapes = window.lastAnswer.draw.shapes, scale = window.lastAnswer.draw.scale;
    const frame = shapes.find((one) => one.kind === 'segments' && one.points.length === 16);
    const middle = (from) => {
      const values = frame.points.filter((_, i) => i % 2 === from);
      return (Math.min(...values) + Math.max(...values)) / 2 / scale;
    };
    window.seen.push({
      count: Number(live.dataset.frames), faces: Number(live.dataset.faces), number,
      x: frame ? middle(0) : null, y: frame ? middle(1) : null,
      inFlight: Number(live.dataset.inFlightMax), atServer: Number(live.dataset.serverInFlightMax),
      sent: window.framesSent, answered: window.framesAnswered,
    });
  }).observe(live, { attributes: true, attributeFilter: ['data-frames'] });
}"""  # noqa: E501

WATCH_THE_WIRE = """() => {
  window.framesSent = 0; window.framesAnswered = 0; window.mostOnTheWire = 0; window.closeCodes = [];
  const send = WebSocket.prototype.send, Plain = WebSocket;
  WebSocket.prototype.send = function (data) {
    if (typeof data !== 'string') {
      window.framesSent += 1;
      window.mostOnTheWire = Math.max(window.mostOnTheWire, window.framesSent - window.framesAnswered);
    }
    return send.call(this, data);
  };
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener('message', (event) => {
        const answer = JSON.parse(event.data);
        if (answer.type === 'frame') { window.framesAnswered += 1; window.lastAnswer = answer; }
        if (answer.type === 'bye') window.bye = answer;
      });
      this.addEventListener('close', (event) => window.closeCodes.push(event.code));
    }
  };
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tracks = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await open(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""  # noqa: E501


def _start(page: Page) -> None:
    page.get_by_role("tab", name="Live").click()
    page.wait_for_selector(".live-toggle")
    page.evaluate(WATCH_THE_WIRE)
    page.uncheck(".live-mirror")
    page.click(".live-toggle")


def _wait_for_frames(page: Page, count: int) -> None:
    page.wait_for_function(
        "n => Number(document.querySelector('.live').dataset.frames) >= n", arg=count
    )


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_hundred_overlays_lie_on_the_face(
    open_live_page: Callable[[], Page],
    webcam_frames: int,
    centre_of_face: Callable[[int], tuple[float, float]],
) -> None:
    page = open_live_page()
    _start(page)
    page.locator("#pose-smoothing .label-wrap").click()
    page.get_by_label("Smooth videos and the webcam").uncheck()  # it is late by design
    _wait_for_frames(page, 5)
    page.evaluate(RECORD, [BITS, BIT_PX])
    page.wait_for_function("n => window.seen.length >= n", arg=OVERLAYS)
    seen = page.evaluate("window.seen")[:OVERLAYS]

    counts = [one["count"] for one in seen]
    assert counts == list(range(counts[0], counts[0] + OVERLAYS)), "an overlay was skipped"
    assert [one["faces"] for one in seen] == [1] * OVERLAYS
    drawn = np.array([(one["x"], one["y"]) for one in seen])
    numbers = [one["number"] for one in seen]
    assert len(set(numbers)) > 20, "the webcam does not move"
    off_px = np.linalg.norm(drawn - [centre_of_face(n) for n in numbers], axis=1)
    assert off_px.max() < NEAR_PX, off_px.round(1).tolist()

    def mean_error_px(late: int) -> float:
        """Were the overlay that of a frame some frames away; the constant offset is taken out."""
        truth = np.array([centre_of_face((n + late) % webcam_frames) for n in numbers])
        difference = drawn - truth
        return float(np.linalg.norm(difference - difference.mean(0), axis=1).mean())

    assert mean_error_px(0) < min(mean_error_px(-3), mean_error_px(3)), "overlays lag their frames"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_one_frame_in_flight_and_a_clean_stop(open_live_page: Callable[[], Page]) -> None:
    page = open_live_page()
    _start(page)
    _wait_for_frames(page, 40)
    assert page.inner_text(".live-faces tbody").split()[0].isdigit()

    page.click(".live-toggle")
    page.wait_for_function("() => window.closeCodes.length === 1 && window.bye")
    assert page.get_attribute(".live", "data-state") == "idle"
    assert "None was stored" in page.inner_text(".live-message")
    assert page.evaluate("window.tracks.map(track => track.readyState)") == ["ended"]
    assert page.evaluate("document.querySelector('.live-video').srcObject") is None
    assert page.evaluate("window.closeCodes") == [1000]
    assert page.evaluate("window.mostOnTheWire") == 1
    bye = page.evaluate("window.bye")
    assert bye["in_flight_max"] == 1 and bye["dropped"] == 0
    assert bye["frames"] in (page.evaluate("window.framesSent") + d for d in (-1, 0))

    # the server's only place is free again
    page.click(".live-toggle")
    _wait_for_frames(page, 3)

    other = open_live_page()
    _start(other)
    other.wait_for_selector(".live-message.is-error")
    assert "places are taken" in other.inner_text(".live-message")
    assert other.get_attribute(".live", "data-state") == "idle"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_switches_and_zero_act_while_it_runs(open_live_page: Callable[[], Page]) -> None:
    page = open_live_page()
    _start(page)
    _wait_for_frames(page, 10)
    assert page.evaluate("window.lastAnswer.patch") is None
    page.get_by_label("Shaded").check()
    page.wait_for_function("() => window.lastAnswer.patch")

    assert abs(page.evaluate("window.lastAnswer.faces[0].z_mm")) > 300
    page.click(".live-zero")
    page.wait_for_function("() => window.lastAnswer.faces[0]?.relative")
    assert abs(page.evaluate("window.lastAnswer.faces[0].z_mm")) < 200
    page.click(".live-clear")
    page.wait_for_function("() => window.lastAnswer.faces[0]?.relative === false")

    page.get_by_role("tab", name="Image").click()
    page.wait_for_function("() => window.tracks[0].readyState === 'ended'")


COVERED = """(mirrored) => new Promise((done) => {
  const live = document.querySelector('.live'), canvas = live.querySelector('.live-canvas');
  const toBlob = HTMLCanvasElement.prototype.toBlob, taken = new Map();
  let number = window.framesSent;
  HTMLCanvasElement.prototype.toBlob = function (then, ...more) {
    taken.set(this, this.getContext('2d').getImageData(0, 0, this.width, this.height));
    return toBlob.call(this, then, ...more);
  };
  const draw = CanvasRenderingContext2D.prototype.drawImage;
  let frame = null;
  CanvasRenderingContext2D.prototype.drawImage = function (picture, ...more) {
    if (this.canvas === canvas && taken.has(picture)) frame = taken.get(picture);
    return draw.call(this, picture, ...more);
  };
  new MutationObserver((_, watch) => {
    const patch = window.lastAnswer.patch;
    if (!frame || !patch) return;
    watch.disconnect();
    HTMLCanvasElement.prototype.toBlob = toBlob;
    CanvasRenderingContext2D.prototype.drawImage = draw;
    const { width, height } = canvas, shown = canvas.getContext('2d').getImageData(0, 0, width, height);
    const changed = [];
    for (let y = 0; y < height; y += 4) for (let x = 0; x < width; x += 4) {
      const i = 4 * (y * width + (mirrored ? width - 1 - x : x)), j = 4 * (y * width + x);
      const off = Math.max(...[0, 1, 2].map((k) => Math.abs(frame.data[j + k] - shown.data[i + k])));
      if (off > 12) changed.push(x, y);
    }
    const { shapes, scale } = window.lastAnswer.draw;
    const lines = shapes.filter((one) => one.kind === 'segments').map((one) => one.points.map((value) => value / scale));
    const wide = canvas.getContext('2d'), plates = shapes.filter((one) => one.kind === 'label').map((one) => {
      const w = wide.measureText(one.text).width + one.height;
      return [mirrored ? width - Math.max(2, width - one.x - w) - w : one.x, one.y - 1.4 * one.height, w, 1.4 * one.height];
    });
    const size = new Image();
    size.onload = () => done({ changed, lines, plates, face: lines.find((one) => one.length === 16),
      box: [patch.x, patch.y, patch.x + size.width, patch.y + size.height] });
    size.src = 'data:image/jpeg;base64,' + patch.jpeg;
  }).observe(live, { attributes: true, attributeFilter: ['data-frames'] });
})"""  # noqa: E501


DRAWN_WITHIN_PX = 6.0
"""Around a line or a label's plate: half its width, and blur at its edge."""


def _distance_px(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    start, way = line[0], line[1] - line[0]
    along = ((points - start) @ way / max(float(way @ way), 1e-9)).clip(0, 1)
    return np.linalg.norm(points - start - along[:, None] * way, axis=1)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_full_head_covers_the_face_and_nothing_else(
    open_live_page: Callable[[], Page],
) -> None:
    page = open_live_page()
    page.get_by_label("Full head").check()
    _start(page)
    for layer in ("Axes", "Landmarks"):
        page.get_by_label(layer, exact=True).set_checked(False)
    page.wait_for_function("() => window.lastAnswer?.patch")
    _wait_for_frames(page, 20)
    for mirrored in (False, True):
        page.set_checked(".live-mirror", mirrored)
        seen = page.evaluate(COVERED, mirrored)
        left, top, right, bottom = seen["box"]
        x, y = np.array(seen["changed"]).reshape(-1, 2).T
        corners = np.array(seen["face"]).reshape(-1, 2)
        low, high = corners.min(0), corners.max(0)
        assert left < low[0] < high[0] < right and top < low[1], "a head is larger than its face"
        assert right - left < 3 * (high[0] - low[0])

        middle = (low + high) / 2
        in_face = (abs(x - middle[0]) < 60) & (abs(y - middle[1]) < 60)
        covered = in_face.sum() / (30 * 30)
        assert covered > 0.8, f"{covered:.2f} of the face has changed"
        drawn = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        for plate_x, plate_y, width, height in seen["plates"]:
            drawn |= (abs(x - plate_x - width / 2) < width / 2 + DRAWN_WITHIN_PX) & (
                abs(y - plate_y - height / 2) < height / 2 + DRAWN_WITHIN_PX
            )
        for line in np.concatenate([np.reshape(one, (-1, 2, 2)) for one in seen["lines"]]):
            drawn |= _distance_px(np.stack([x, y], 1), line) < DRAWN_WITHIN_PX
        assert (~drawn).sum() < 10, "the patch, lines and the label alone have changed"
    assert "open head, drawn by OpenCV" in page.inner_text(".live-note")
