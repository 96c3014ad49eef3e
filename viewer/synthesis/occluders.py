"""Things that people wear and hold before their faces: glasses, masks, hands, phones, microphones.

All in the `open_head` frame of one person; a test looks at where they end up.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from models.flame.open_head import HeadAssets
from models.geometry.rotations import about_x, about_y, about_z
from viewer.synthesis.head_paint import smooth_step
from viewer.synthesis.surfaces import Surface, box, ellipsoid, grid_triangles, joined, painted, tube

Array = np.ndarray

LEFT_EYE, RIGHT_EYE = (263, 362), (33, 133)
"""FaceMesh ids of the corners of the subject's left and right eye."""

NOSE_BRIDGE, MOUTH, CHIN, LEFT_EAR, RIGHT_EAR = 168, 13, 152, 454, 234


def glasses(
    landmarks_m: Float[Array, "468 3"], rng: np.random.Generator
) -> tuple[Surface, Surface]:
    """Frame and lenses; the lenses are clear, tinted or dark."""
    half_w, half_h = rng.uniform(0.019, 0.030), rng.uniform(0.013, 0.026)
    power = rng.uniform(1.7, 4.0)
    thin = rng.uniform(0.0006, 0.0028)
    rgb = rng.uniform(5, 90) * np.ones(3) if rng.random() < 0.7 else rng.uniform(10, 220, 3)
    angle = np.linspace(0, 2 * np.pi, 25)
    frame, lenses = [], []
    edges = []
    front = landmarks_m[[*LEFT_EYE, *RIGHT_EYE], 2].max() + rng.uniform(0.010, 0.016)
    for corners, side in ((LEFT_EYE, 1.0), (RIGHT_EYE, -1.0)):
        middle = landmarks_m[list(corners)].mean(0)
        middle[1] -= rng.uniform(0.0, 0.004)
        cosine, sine = np.cos(angle), np.sin(angle)
        x = np.sign(cosine) * np.abs(cosine) ** (2 / power) * half_w
        y = np.sign(sine) * np.abs(sine) ** (2 / power) * half_h
        z = front - 0.25 * np.clip(side * x, 0, None) - 0.15 * np.abs(y)
        rim = np.stack([middle[0] + x, middle[1] + y, z], 1)
        vertices, triangles = tube(rim, thin)
        frame.append(painted(vertices, triangles, rgb))
        fan = np.stack([np.zeros(24, int), np.arange(1, 25), np.arange(2, 26)], 1)
        lenses.append((np.concatenate([rim.mean(0)[None], rim]), fan))
        edges.append((rim[0 if side > 0 else 12], rim[12 if side > 0 else 0]))
    bridge = np.linspace(edges[0][1], edges[1][1], 5)
    bridge[1:-1, 2] += 0.003
    vertices, triangles = tube(bridge, thin)
    frame.append(painted(vertices, triangles, rgb))
    for (outer, _), ear in zip(edges, (LEFT_EAR, RIGHT_EAR), strict=True):
        end = landmarks_m[ear] + [np.sign(landmarks_m[ear, 0]) * 0.006, 0.012, -0.035]
        bend = np.linspace(outer, end, 6)
        bend[1:-1, 0] += np.sign(outer[0]) * 0.006
        vertices, triangles = tube(bend, thin)
        frame.append(painted(vertices, triangles, rgb))
    dark = rng.random()
    alpha = rng.uniform(0.75, 1.0) if dark < 0.35 else rng.uniform(0.0, 0.25)
    tint = rng.uniform(5, 60, 3) if dark < 0.35 else rng.uniform(60, 255, 3)
    glass = joined([painted(v, t, tint, alpha=alpha) for v, t in lenses])
    return joined(frame), glass


def face_mask(
    head: HeadAssets,
    vertices_m: Float[Array, "v 3"],
    normals: Float[Array, "v 3"],
    rng: np.random.Generator,
) -> Surface:
    """A medical or cloth mask over nose, mouth and chin, held by straps."""
    x, y, z = head.template_vertices_m.T
    top = 0.004 + rng.uniform(-0.02, 0.012) - 0.25 * np.abs(x)
    region = smooth_step(top - y, -0.002, 0.004) * smooth_step(y, -0.10, -0.085)
    region *= smooth_step(z, -0.02 + rng.uniform(-0.01, 0.015), 0.0)
    skin = head.triangles_of("skin")
    used = skin[(region[skin] > 0.05).all(1)]
    ids, local = np.unique(used, return_inverse=True)
    lifted = vertices_m[ids] + normals[ids] * 0.006
    # the cloth hangs over the lips and the hollows beside the nose
    bulge = 0.078 - 14.0 * lifted[:, 0] ** 2 - 4.0 * (lifted[:, 1] + 0.005) ** 2
    lifted[:, 2] = np.maximum(lifted[:, 2], bulge)
    colours = np.array(
        [[232, 236, 238], [150, 190, 215], [30, 30, 34], [200, 120, 140]], np.float64
    )
    rgb = colours[rng.integers(4)] if rng.random() < 0.7 else rng.uniform(10, 245, 3)
    folds = 1 + 0.06 * np.sin(lifted[:, 1] * rng.uniform(250, 600))
    cloth = painted(lifted, local.reshape(-1, 3), rgb * folds[:, None])
    straps = []
    landmarks = head.landmarks_468_m(vertices_m)
    for cheek, ear in ((361, LEFT_EAR), (132, RIGHT_EAR)):
        side = np.sign(landmarks[ear, 0])
        for height in (0.012, -0.02):
            end = landmarks[ear] + [side * 0.008, height, -0.02]
            path = np.linspace(landmarks[cheek] + [side * 0.003, height, 0.012], end, 5)
            vertices, triangles = tube(path, 0.0014, sides=4)
            straps.append(painted(vertices, triangles, rgb))
    return joined([cloth, *straps])


def hand(
    landmarks_m: Float[Array, "468 3"], skin_rgb: Float[Array, "3"], rng: np.random.Generator
) -> Surface:
    """A hand near mouth, chin, cheek, eye or forehead, palm towards the face."""
    curl = rng.uniform(0.0, 0.9)
    parts = [painted(*ellipsoid(np.zeros(3), np.array([0.040, 0.045, 0.014])), skin_rgb)]
    for n, (across, length) in enumerate(
        ((-0.030, 0.068), (-0.010, 0.078), (0.011, 0.073), (0.030, 0.058))
    ):
        spread = (n - 1.5) * rng.uniform(0.0, 0.12)
        bend = np.cumsum([0.0, curl * 0.5, curl * 0.8, curl * 0.6, 0.0])
        step = length / 4
        path = [np.array([across, 0.036, 0.0])]
        for angle in bend[1:]:
            path.append(
                path[-1]
                + step * np.array([np.sin(spread), np.cos(spread) * np.cos(angle), -np.sin(angle)])
            )
        radius = np.array([0.0095, 0.0088, 0.0085, 0.0078, 0.005])
        parts.append(painted(*tube(np.array(path), radius, sides=7), skin_rgb))
    thumb = np.array(
        [
            [-0.034, -0.02, 0.0],
            [-0.055, 0.0, -0.006],
            [-0.062, 0.024, -0.012],
            [-0.064, 0.04, -0.014],
        ]
    )
    parts.append(painted(*tube(thumb, np.array([0.013, 0.011, 0.010, 0.006]), sides=7), skin_rgb))
    wrist = np.array([[0.0, -0.03, 0.0], [0.0, -0.08, 0.004], [0.0, -0.26, 0.03]])
    sleeve = rng.uniform(10, 230, 3)
    parts.append(painted(*tube(wrist, np.array([0.026, 0.027, 0.036]), sides=9), skin_rgb))
    parts.append(
        painted(
            *tube(wrist[1:] + np.array([0.0, -0.03, 0.0]), np.array([0.034, 0.05]), sides=9), sleeve
        )
    )
    whole = joined(parts)
    shade = 1 + 0.06 * rng.normal(size=(len(whole.vertices_m), 1))
    place = landmarks_m[rng.choice([MOUTH, CHIN, 205, 425, 33, 263, 10])]
    R = (
        about_z(rng.uniform(-130, 130))
        @ about_y(rng.uniform(-40, 40))
        @ about_x(rng.uniform(-40, 20))
    )
    if rng.random() < 0.5:
        R = R @ np.diag([-1.0, 1.0, -1.0])
    away = np.array([rng.normal(0, 0.03), rng.normal(0, 0.03), rng.uniform(0.022, 0.06)])
    moved = whole.moved(R, place + away - R @ np.array([0.0, rng.uniform(0.0, 0.09), 0.0]))
    return painted(moved.vertices_m, moved.triangles, moved.rgb * shade)


def phone(landmarks_m: Float[Array, "468 3"], rng: np.random.Generator) -> Surface:
    """A phone at one ear or held before the face."""
    vertices, triangles = box(np.array([0.036, 0.075, 0.004]))
    rgb = rng.uniform(8, 60) * np.ones(3) if rng.random() < 0.7 else rng.uniform(20, 240, 3)
    if rng.random() < 0.6:
        side = rng.choice([-1.0, 1.0])
        R = about_y(side * rng.uniform(65, 90)) @ about_z(rng.uniform(-35, 35))
        place = landmarks_m[LEFT_EAR if side > 0 else RIGHT_EAR] + [side * 0.02, -0.02, 0.0]
    else:
        R = about_z(rng.choice([0.0, 90.0]) + rng.uniform(-15, 15)) @ about_x(rng.uniform(-30, 30))
        place = landmarks_m[rng.integers(468)] + [
            0,
            rng.uniform(-0.1, 0.02),
            rng.uniform(0.05, 0.15),
        ]
    return painted(vertices @ R.T + place, triangles, rgb)


def microphone(landmarks_m: Float[Array, "468 3"], rng: np.random.Generator) -> Surface:
    """A hand-held or stand microphone in front of the mouth."""
    tip = landmarks_m[MOUTH] + [
        rng.normal(0, 0.02),
        rng.uniform(-0.05, 0.0),
        rng.uniform(0.03, 0.1),
    ]
    size = rng.uniform(0.014, 0.028)
    ball = painted(*ellipsoid(tip, np.full(3, size)), rng.uniform(10, 120) * np.ones(3))
    down = np.array([rng.normal(0, 0.4), -1.0, rng.uniform(0.0, 0.7)])
    path = tip + np.linspace(0.01, 0.25, 4)[:, None] * down / np.linalg.norm(down)
    stick = painted(*tube(path, 0.011, sides=8), rng.uniform(5, 80) * np.ones(3))
    return joined([ball, stick])


def strands_over_face(
    landmarks_m: Float[Array, "468 3"], rgb: Float[Array, "3"], rng: np.random.Generator
) -> Surface:
    """A few locks that fall from the forehead over one eye or cheek."""
    parts = []
    for _ in range(rng.integers(1, 5)):
        top = landmarks_m[10] + [rng.normal(0, 0.03), 0.012, 0.002]
        end = landmarks_m[rng.choice([33, 263, 205, 425, 58, 288])] + [
            rng.normal(0, 0.02),
            0,
            0.012,
        ]
        s = np.linspace(0, 1, 9)[:, None]
        path = top * (1 - s) + end * s + np.array([0.0, 0.0, 0.03]) * np.sin(np.pi * s)
        width = rng.uniform(0.001, 0.007)
        out = np.array([width, 0.0, 0.0])
        edge = np.stack([path - out, path + out], 1).reshape(-1, 3)
        uv = np.stack([np.tile([0.0, 0.3], 9) + rng.random(), np.repeat(s[:, 0], 2)], 1)
        parts.append(painted(edge, grid_triangles(9, 2), rgb, alpha=0.8, strand_uv=uv, strand=0.9))
    return joined(parts)
