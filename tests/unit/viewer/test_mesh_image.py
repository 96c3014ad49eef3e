"""Rendered meshes: on the pixels that the camera says, the same in every renderer."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.flame.open_head import load_open_head
from models.geometry.cameras import Camera, camera_from_horizontal_fov, camera_from_intrinsics
from models.geometry.rotations import GL_FROM_CV, about_x, about_y, about_z
from viewer.render.gl_probe import find_gl
from viewer.render.mesh_image import MeshRenderer, RenderMesh, live_renderer, shared_renderer
from viewer.render.render_scene import Layer
from viewer.render.surfaces import RendererError

Array = np.ndarray

SIZE = (320, 240)
CAMERA = camera_from_horizontal_fov(SIZE)
OFF_CENTRE = camera_from_intrinsics(SIZE, 410.0, 330.0, 121.3, 147.8)
FACES = np.array([[0, 1, 2], [0, 2, 3]])

CHILD = """
import sys
import numpy as np
from models.geometry.cameras import Camera
from viewer.render.gl_renderer import GlRenderer
from viewer.render.surfaces import Surface, region_of
given = np.load(sys.argv[1])
camera = Camera(given["K"], tuple(given["size"].tolist()))
surface = Surface(given["vertices"], given["triangles"], given["colours"], True)
layer = GlRenderer("OSMesa").draw([surface], camera, region_of([surface], camera))
np.savez(sys.argv[2], rgb=layer.premultiplied_rgb, coverage=layer.coverage, depth=layer.depth_m)
"""


class OsMesaRenderer:
    """In a process of its own: this one has EGL."""

    name = "pyrender OSMesa"

    def __init__(self, folder: Path, repo_root: Path) -> None:
        self._folder, self._root = folder, repo_root

    def draw(self, surfaces, camera, region) -> Layer:
        (surface,) = surfaces
        given, drawn = self._folder / "given.npz", self._folder / "drawn.npz"
        np.savez(
            given,
            K=camera.K_image_from_cam,
            size=np.array(camera.size_wh_px),
            vertices=surface.vertices_cam_m,
            triangles=surface.triangles,
            colours=surface.colours,
        )
        command = [sys.executable, "-c", CHILD, str(given), str(drawn)]
        run = subprocess.run(command, cwd=self._root, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        with np.load(drawn) as file:
            return Layer(region, file["rgb"], file["coverage"], file["depth"])


@pytest.fixture(scope="module")
def gl_renderer() -> MeshRenderer:
    renderer = MeshRenderer([("EGL", 0)])
    if renderer.renderer_name != "pyrender EGL":
        pytest.skip(f"no EGL on this machine: {renderer.fallback_reason}")
    return renderer


GL = pytest.param("pyrender EGL", marks=pytest.mark.gl)
MESA = pytest.param("pyrender OSMesa", marks=pytest.mark.gl)
ALL = [GL, MESA, "OpenCV", "live"]


@pytest.fixture(scope="module")
def osmesa_says() -> str:
    found = find_gl([("OSMesa", 0)])
    if found.platform is None:
        pytest.skip(f"no OSMesa on this machine: {found.said}")
    return found.said


@pytest.fixture
def renderer(request, tmp_path: Path, repo_root: Path) -> MeshRenderer:
    if request.param == "pyrender EGL":
        return request.getfixturevalue("gl_renderer")
    if request.param == "pyrender OSMesa":
        assert request.getfixturevalue("osmesa_says").startswith("pyrender OSMesa on ")
        renderer = MeshRenderer(())
        renderer._opencv = OsMesaRenderer(tmp_path, repo_root)
        return renderer
    return live_renderer() if request.param == "live" else MeshRenderer(())


@pytest.fixture(scope="module")
def head() -> RenderMesh:
    """The open head without shoulders, in the middle of its own frame, with the camera's axes."""
    head = load_open_head()
    vertices = head.template_vertices_m[: head.head_vertex_count] @ GL_FROM_CV
    return RenderMesh(vertices - (vertices.min(0) + vertices.max(0)) / 2, head.head_triangles)


def placed(head: RenderMesh, t_m, R=None, **fields: object) -> RenderMesh:
    R = np.eye(3) if R is None else R
    return RenderMesh(head.vertices_cam_m @ R.T + t_m, head.triangles, **fields)


def square(camera: Camera, centre_px, side_px: float, z_m: float, **fields: object) -> RenderMesh:
    """A square that faces the camera, turned by half a radian, around a point of the picture."""
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1.0]]) * side_px / 2
    corners = corners @ about_z(np.degrees(0.5))[:2, :2].T + centre_px
    rays = np.concatenate([camera.normalise(corners), np.ones((4, 1))], 1)
    return RenderMesh(rays * z_m, FACES, **fields)


@pytest.mark.parametrize("renderer", ALL, indirect=True)
def test_a_mesh_lands_on_the_pixels_of_its_projection(renderer: MeshRenderer) -> None:
    """Squares all over the picture at fractions of a pixel: 0.5 px is promised, 0.15 is kept."""
    camera = OFF_CENTRE
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(20, 310, 40), np.arange(20, 230, 40)), -1).reshape(-1, 2)
    centres, depths_m = grid + rng.uniform(-3, 3, grid.shape), rng.uniform(0.4, 1.5, len(grid))
    squares = [square(camera, c, 17.0, z) for c, z in zip(centres, depths_m, strict=True)]
    vertices = np.concatenate([one.vertices_cam_m for one in squares])
    triangles = np.concatenate([FACES + 4 * i for i in range(len(squares))])
    drawn = renderer.draw(None, [RenderMesh(vertices, triangles)], camera)
    alpha, depth_m = drawn.alpha, drawn.depth_m
    off_px = []
    for centre, z_m in zip(centres, depths_m, strict=True):
        x, y = np.floor(centre).astype(int)
        part = alpha[y - 13 : y + 14, x - 13 : x + 14]
        rows, columns = np.mgrid[y - 13 : y + 14, x - 13 : x + 14] + 0.5
        found = np.array([(part * columns).sum(), (part * rows).sum()]) / part.sum()
        off_px.append(found - centre)
        assert np.sqrt(part.sum()) == pytest.approx(17.0, abs=0.6)
        assert depth_m[y, x] == pytest.approx(z_m, rel=1e-4)
    assert np.abs(off_px).max() < 0.15 and np.abs(np.mean(off_px, 0)).max() < 0.03


@pytest.mark.parametrize("renderer", [GL, "OpenCV", "live"], indirect=True)
def test_a_heads_outline_is_that_of_its_vertices(renderer: MeshRenderer, head: RenderMesh) -> None:
    mesh = placed(head, [0.05, -0.03, 0.8], about_y(30.0) @ about_x(-10.0))
    drawn = renderer.draw(None, [mesh], OFF_CENTRE)
    points = OFF_CENTRE.project(mesh.vertices_cam_m)
    covered = drawn.alpha > 0.5
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert np.abs(np.array(found) - [*points.min(0), *points.max(0)]).max() < 1.0
    assert drawn.depth_m.min() == pytest.approx(mesh.vertices_cam_m[:, 2].min(), abs=2e-4)


@pytest.mark.parametrize("renderer", ALL, indirect=True)
def test_golden_picture(renderer: MeshRenderer, head: RenderMesh, repo_root: Path) -> None:
    """One picture for all renderers: light and edges are the same within a shade.

    A right picture that has changed on purpose is accepted by copying tests/out/... over it.
    """
    photo = np.array(Image.open(repo_root / "assets/examples/astronaut.jpg").convert("RGB"))
    photo = cv2.resize(photo, (288, 288), interpolation=cv2.INTER_AREA)
    camera = camera_from_horizontal_fov((288, 288))
    mesh = placed(head, [-0.031, -0.115, 0.8], about_y(14.0) @ about_x(-4.0), opacity=0.85)
    seen = renderer.draw(photo, [mesh], camera).rgb
    path = repo_root / "tests" / "golden" / "rendered_open_head.png"
    wanted = np.array(Image.open(path)) if path.is_file() else np.zeros_like(seen)
    diff = np.abs(seen.astype(int) - wanted)
    if not path.is_file() or diff.mean() > 0.6 or (diff.max(2) > 40).mean() > 0.005:
        folder = repo_root / "tests" / "out"
        folder.mkdir(exist_ok=True)
        Image.fromarray(seen).save(folder / path.name, optimize=True)
        Image.fromarray(np.minimum(diff * 4, 255).astype(np.uint8)).save(
            folder / "rendered_open_head_diff.png"
        )
        pytest.fail(f"{path.name}: mean difference {diff.mean():.2f}; see {folder / path.name}")
    assert path.stat().st_size < 150_000


@pytest.mark.gl
def test_many_threads_get_their_own_pictures(gl_renderer: MeshRenderer, head: RenderMesh) -> None:
    meshes = [placed(head, [0.02 * k - 0.1, 0, 0.8], about_y(8.0 * k)) for k in range(12)]
    alone = [gl_renderer.draw(None, [mesh], CAMERA).rgb for mesh in meshes]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda mesh: gl_renderer.draw(None, [mesh], CAMERA).rgb, meshes))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert not np.array_equal(alone[0], alone[1])


@pytest.mark.gl
def test_vertices_are_updated_in_place(gl_renderer: MeshRenderer, head: RenderMesh) -> None:
    first, second = placed(head, [0, 0, 0.8]), placed(head, [0.1, 0, 0.9], about_y(50.0))
    gl_renderer.draw(None, [first], CAMERA)
    buffers = list(gl_renderer._gl._slots[0].primitive._buffers)
    moved = gl_renderer.draw(None, [second], CAMERA)
    assert gl_renderer._gl._slots[0].primitive._buffers == buffers
    gl_renderer.draw(None, [square(CAMERA, (50, 50), 10, 1.0)], CAMERA)
    assert np.array_equal(gl_renderer.draw(None, [second], CAMERA).rgb, moved.rgb)


class BrokenContext:
    name = "pyrender EGL"

    def draw(self, *args: object) -> Layer:
        raise RendererError("pyrender EGL: out of memory")


@pytest.mark.gl
def test_a_context_that_fails_later_is_replaced_by_opencv(
    gl_renderer: MeshRenderer, head: RenderMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gl_renderer, "_reason", "")
    monkeypatch.setattr(gl_renderer, "_gl", BrokenContext())
    drawn = gl_renderer.draw(None, [placed(head, [0, 0, 0.8])], CAMERA)
    wanted = MeshRenderer(()).draw(None, [placed(head, [0, 0, 0.8])], CAMERA)
    assert np.array_equal(drawn.rgb, wanted.rgb)
    assert gl_renderer.renderer_name == "OpenCV"
    assert gl_renderer.fallback_reason == "pyrender EGL: out of memory"


@pytest.mark.gl
def test_the_program_ends_in_silence(repo_root: Path) -> None:
    """Nobody closes the shared renderer."""
    code = (
        "import numpy as np\n"
        "from models.geometry.cameras import camera_from_horizontal_fov\n"
        "from viewer.render.mesh_image import RenderMesh, shared_renderer\n"
        "mesh = RenderMesh(np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1]]), np.array([[0, 1, 2]]))\n"
        "drawn = shared_renderer().draw(None, [mesh], camera_from_horizontal_fov((64, 64)))\n"
        "print(shared_renderer().renderer_name, drawn.alpha.max())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith(" 1.0\n")


def test_a_machine_without_opengl_draws_with_opencv_and_says_why(head: RenderMesh) -> None:
    with MeshRenderer([("EGL", 97)]) as renderer:
        assert renderer.renderer_name == "OpenCV"
        assert "EGL: ValueError Invalid device ID (97)" in renderer.fallback_reason
        assert renderer.draw(None, [placed(head, [0, 0, 0.8])], CAMERA).alpha.max() == 1.0
    assert live_renderer().renderer_name == "OpenCV" and live_renderer().fallback_reason == ""
    assert shared_renderer() is shared_renderer()


def test_a_crash_of_opengl_stays_in_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr("viewer.render.gl_probe.sys.executable", str(crashing))
    found = find_gl([("EGL", 0), ("OSMesa", 0)])
    assert found.platform is None
    assert found.said == "EGL: the process ended with -11; OSMesa: the process ended with -11"


def test_what_is_behind_the_camera_or_far_outside_is_not_drawn(head: RenderMesh) -> None:
    renderer = MeshRenderer(())
    for t_m in ([0, 0, -0.8], [40.0, 0, 0.8], [0, 0, 0.0], [1e9, 0, 1e-3]):
        drawn = renderer.draw(None, [placed(head, t_m)], CAMERA)
        assert np.isfinite(drawn.region_premultiplied_rgb).all()
        if t_m[2] < 0 or t_m[0] > 1:
            assert drawn.alpha.max() == 0 and np.isinf(drawn.depth_m).all()
