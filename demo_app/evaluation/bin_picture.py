"""Error by yaw and by pitch, and by both, as one SVG: no scripts, the same bytes for the same
figures."""

from __future__ import annotations

from collections.abc import Sequence

from demo_app.evaluation.summary import BIN_EDGES_DEG, Bin, Summary

STEP_DEG = BIN_EDGES_DEG[1] - BIN_EDGES_DEG[0]
WIDTH, HEIGHT = 1040, 430
_LEFT, _TOP, _BAR_W, _BAR_H, _CELL = 52, 58, 440, 120, 62
_GRID_LEFT = _LEFT + _BAR_W + 108
_CELL_H = 42
_SHADES = ("#e8f1fa", "#c3dcf1", "#94c1e4", "#5c9fd2", "#2f7bb9", "#155a94", "#0a3c68")
_STYLE = (
    "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif;fill:#3c4557}"
    ".t{font-weight:600;font-size:13px;fill:#171b24}.s{font-size:10.5px;fill:#6a7386}"
    ".m{text-anchor:middle}.e{text-anchor:end}.w{fill:#fff}.ws{fill:#dbe8f4;font-size:10.5px}"
)


def bin_picture_svg(summary: Summary) -> str:
    """The whole picture; degrees of geodesic error everywhere."""
    bins = (*summary.by_yaw, *summary.by_pitch)
    top_deg = _round_up(max((b.high_deg or b.ge_deg or 0.0) for b in bins))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" '
        'aria-label="Geodesic error by yaw and pitch of the label">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#fff"/>',
        *_strip(summary.by_yaw, "yaw", _TOP, top_deg),
        *_strip(summary.by_pitch, "pitch", _TOP + _BAR_H + 86, top_deg),
        *_grid(summary.by_both),
        "</svg>",
    ]
    return "".join(parts) + "\n"


def _round_up(value_deg: float) -> float:
    """A scale's end: 1, 2 or 5 times a power of ten."""
    power = 1.0
    while power * 10 < value_deg:
        power *= 10
    return next((k * power for k in (1.0, 2.0, 5.0) if k * power >= value_deg), 10 * power)


def _strip(bins: Sequence[Bin], name: str, top: float, top_deg: float) -> list[str]:
    """Bars with whiskers."""
    width = _BAR_W / len(bins)
    base = top + _BAR_H
    parts = [f'<text class="t" x="{_LEFT}" y="{top - 24}">Geodesic error by {name} (°)</text>']
    for tick in (0.0, 0.5, 1.0):
        y = base - tick * _BAR_H
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{_LEFT + _BAR_W}" stroke="#e2e5ec"/>'
            f'<text class="s e" x="{_LEFT - 8}" y="{y + 4:.1f}">{tick * top_deg:g}</text>'
        )
    for i, one in enumerate(bins):
        x = _LEFT + (i + 0.5) * width
        angle = one.yaw_from_deg if name == "yaw" else one.pitch_from_deg
        parts.append(
            f'<text class="m" x="{x:.1f}" y="{base + 17}">{_middle(angle)}</text>'
            f'<text class="s m" x="{x:.1f}" y="{base + 32}">n = {one.samples:,}</text>'
        )
        if one.ge_deg is not None:
            parts += _bar(one, x, width, base, top_deg)
    return parts


def _bar(one: Bin, x: float, width: float, base: float, top_deg: float) -> list[str]:
    height = one.ge_deg / top_deg * _BAR_H
    highest = max(one.ge_deg, one.high_deg or 0.0) / top_deg * _BAR_H
    parts = [
        f'<rect x="{x - 0.31 * width:.1f}" y="{base - height:.1f}" width="{0.62 * width:.1f}" '
        f'height="{height:.1f}" rx="3" fill="#5c9fd2"/>',
        f'<text class="m" x="{x:.1f}" y="{base - highest - 6:.1f}">{one.ge_deg:.2f}</text>',
    ]
    if one.low_deg is not None and one.high_deg is not None:
        low, high = (base - v / top_deg * _BAR_H for v in (one.low_deg, one.high_deg))
        ends = "".join(f"M{x - 5:.1f} {y:.1f}h10" for y in (low, high))
        parts.append(
            f'<path d="M{x:.1f} {low:.1f}V{high:.1f}{ends}" stroke="#0a3c68" '
            'stroke-width="1.5" fill="none"/>'
        )
    return parts


def _grid(bins: Sequence[Bin]) -> list[str]:
    """Pitch upwards, yaw to the right; the darker the larger."""
    n = len(BIN_EDGES_DEG) - 1
    known = [b.ge_deg for b in bins if b.ge_deg is not None]
    low, high = min(known), max(known)
    parts = [
        f'<text class="t" x="{_GRID_LEFT}" y="{_TOP - 24}">'
        "Mean geodesic error (°) and samples by yaw and pitch</text>"
    ]
    for k, one in enumerate(bins):
        i, j = divmod(k, n)
        x, y = _GRID_LEFT + i * (_CELL - 6), _TOP + (n - 1 - j) * _CELL_H
        parts += _cell(one, x, y, low, high)
    for i, edge in enumerate(BIN_EDGES_DEG[:-1]):
        x = _GRID_LEFT + (i + 0.5) * (_CELL - 6) - 1
        parts.append(
            f'<text class="m" x="{x:.1f}" y="{_TOP + n * _CELL_H + 16}">{_middle(edge)}</text>'
        )
        y = _TOP + (n - 1 - i + 0.5) * _CELL_H + 3
        parts.append(f'<text class="e" x="{_GRID_LEFT - 8}" y="{y:.1f}">{_middle(edge)}</text>')
    middle, below = _GRID_LEFT + n * (_CELL - 6) / 2, _TOP + n * _CELL_H + 36
    parts.append(f'<text class="s m" x="{middle}" y="{below}">yaw of the label (°)</text>')
    side = f'transform="translate({_GRID_LEFT - 50} {_TOP + n * _CELL_H / 2}) rotate(-90)"'
    parts.append(f'<text class="s m" {side}>pitch of the label (°)</text>')
    return parts


def _cell(one: Bin, x: float, y: float, low: float, high: float) -> list[str]:
    size = f'x="{x}" y="{y}" width="{_CELL - 8}" height="{_CELL_H - 2}" rx="4"'
    if one.ge_deg is None:
        return [f'<rect {size} fill="#f4f5f8"/>']
    shade = int((one.ge_deg - low) / max(high - low, 1e-9) * (len(_SHADES) - 1) + 0.5)
    dark = shade >= 3
    middle = x + (_CELL - 8) / 2
    return [
        f'<rect {size} fill="{_SHADES[shade]}"/>',
        f'<text class="m{" w" if dark else ""}" x="{middle}" y="{y + 17}">{one.ge_deg:.2f}</text>',
        f'<text class="{"ws" if dark else "s"} m" x="{middle}" y="{y + 32}">{one.samples:,}</text>',
    ]


def _middle(low_deg: float | None) -> str:
    """Of a bin, for its label."""
    return "" if low_deg is None else f"{low_deg + STEP_DEG / 2:g}".replace("-", "−")
