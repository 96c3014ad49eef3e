"""The page as a table of contents, and the server that serves it with the live websocket."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route

from demo_app.actions.dataset_route import build_dataset_routes
from demo_app.actions.flame_route import build_flame_routes
from demo_app.actions.login import behind_login
from demo_app.actions.model_choices import banner_html
from demo_app.actions.training_route import build_training_routes
from demo_app.config import AppConfig
from demo_app.live.route import build_live_route
from demo_app.services import Services
from demo_app.tabs import datasets, flame, pose, training
from demo_app.tabs.theme import CSS_PATHS, build_theme

TITLE = "TRG Studio"

HEADER = """<header class="brand"><svg viewBox="0 0 32 32" aria-hidden="true">
<circle cx="16" cy="14" r="8"/><path d="M16 14 26 9M16 14v13M16 14l-6 5"/></svg>
<div><h1>TRG Studio</h1>
<p>Where a head is and where it looks, in metres and degrees</p></div></header>"""

CACHE_EVERY_S, CACHE_AGE_S = 300, 3600


def build_app(services: Services) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(CACHE_EVERY_S, CACHE_AGE_S)
    ) as app:
        with gr.Row(elem_classes="top"):
            gr.HTML(HEADER, apply_default_css=False)
            banner = gr.HTML(
                banner_html(services, services.config.default_model),
                elem_id="banner",
                apply_default_css=False,
            )
        here, address = datasets.build_state()
        with gr.Tabs(elem_classes="sections") as sections:
            with gr.Tab("Pose", id="pose") as pose_tab:
                pose_components = pose.build(services)
            with gr.Tab("Datasets", id=datasets.TAB, elem_id="tab-datasets") as datasets_tab:
                datasets_components = datasets.build(services, here, address)
            with gr.Tab("FLAME", id=flame.TAB, elem_id="tab-flame") as flame_tab:
                flame_components = flame.build(services)
            with gr.Tab("Training", id=training.TAB, elem_id="tab-training") as training_tab:
                training_components = training.build(services)
        pose.connect(pose_components, banner, services)
        datasets.connect(datasets_components, app, sections, datasets_tab, services)
        flame.connect(flame_components, flame_tab, services)
        for other in (pose_tab, flame_tab, training_tab):
            other.select(fn=None, js="() => { window.trgDatasets.leave(); }")
        for other in (pose_tab, datasets_tab, flame_tab):
            other.select(fn=None, js="() => { window.trgTraining?.leave(); }")
        model = pose_components.options.switches.model
        training.connect(training_components, app, sections, training_tab, model, services)

        def on_leave(request: gr.Request) -> None:
            services.visitors.close(request.session_hash)

        app.unload(on_leave)
    return app


def launch_options(services: Services) -> dict[str, Any]:
    """Arguments of `Blocks.launch`: address, look, limits, and routes of our own."""
    config = services.config
    return {
        "server_name": config.server_name,
        "server_port": config.server_port,
        "theme": build_theme(),
        "css_paths": CSS_PATHS,
        "max_file_size": f"{config.max_upload_mb}mb",
        "app_kwargs": {"routes": own_routes(services)},
        "run_history": False,
        "auth": config.login,
        "ssr_mode": False,
        "show_error": False,
        "footer_links": ["api", "settings"],
    }


def own_routes(services: Services) -> list[BaseRoute]:
    """The live websocket, pictures of data sets, meshes of heads, files of runs, and Plotly's own
    script; behind the login, if there is one."""
    plotly = files("plotly").joinpath("package_data", "plotly.min.js")

    async def plotly_script(_: object) -> FileResponse:
        return FileResponse(
            str(plotly), media_type="text/javascript", headers={"cache-control": "max-age=86400"}
        )

    routes = [
        build_live_route(services),
        *build_dataset_routes(services),
        *build_flame_routes(services),
        *build_training_routes(services),
        Route("/studio/plotly.min.js", plotly_script),
    ]
    return behind_login(routes) if services.config.login else routes


def serve(config: AppConfig) -> None:
    """Build the page and serve it until the process is asked to end."""
    services = Services(config)
    try:
        services.warm_up()
        build_app(services).launch(**launch_options(services))
    finally:
        services.close()
