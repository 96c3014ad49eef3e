"""What a finished video is summed up with: a sentence, a plot over time, its first frame."""

from __future__ import annotations

from demo_app.actions.options import PoseOptions
from demo_app.actions.progress_text import duration_text, end_html
from demo_app.actions.results import VideoResult
from viewer.render.time_plot import PoseSample, build_time_figure


def video_end_html(result: VideoResult) -> str:
    """How much was done and what went wrong."""
    run = result.run
    people = len(run.track_ids)
    summary = (
        f"{run.frames} frames, {duration_text(run.end_s)}, "
        f"{people} {'person' if people == 1 else 'people'}, "
        f"a face in {run.frames_with_a_face} frames. {result.model_label}."
    )
    return end_html(summary, run.notes)


def first_frame_with_a_face(result: VideoResult) -> int:
    """Index of the first frame worth showing; 0 if there is no face."""
    return result.store.first_with_a_face()


def time_figure_json(result: VideoResult, options: PoseOptions) -> str:
    """Angles, in the convention of the table, and position over time, as Plotly's JSON."""
    convention = options.shown_convention()
    samples = (
        PoseSample(
            track_id=moment.track_id,
            time_s=moment.time_s,
            ypr_deg=convention.ypr_deg(moment.R_cam_from_head[0]),
            t_mm=moment.t_cam_from_head_mm[0].tolist(),
            raw_ypr_deg=convention.ypr_deg(moment.R_cam_from_head[1]),
            raw_t_mm=moment.t_cam_from_head_mm[1].tolist(),
        )
        for moment in result.store.motions()
    )
    figure = build_time_figure(samples)
    # a phone has no room for twelve names above the plot and a menu beside them
    figure.for_each_trace(lambda trace: trace.update(showlegend=not trace.name.endswith(" raw")))
    below = {"yref": "container", "y": 0.0, "yanchor": "bottom"}
    figure.update_layout(legend=below, margin={"t": 44, "b": 96})
    return figure.to_json()
