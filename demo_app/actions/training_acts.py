"""What the buttons of the Training tab do. Every answer is plain JSON; refusals are sentences."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

from demo_app.actions.training_desk import REPOSITORY_ROOT, desk_of, why_not
from demo_app.actions.training_form import (
    check_values,
    loaded_values,
    measure,
    offered_protocols,
    save_config,
    saved_configs,
    saved_values,
)
from demo_app.actions.training_values import config_from_values, values_of
from demo_app.actions.training_view import KILL_AFTER_S
from demo_app.config import child_environment
from demo_app.run_config import CONFIG_FILE, RunConfigError, read_run_config
from demo_app.run_plan import command_of, problems_of
from demo_app.run_state import CHECKPOINT_FOLDER, STOP_FILE
from demo_app.runs.evaluations import start_evaluation
from demo_app.runs.exports import export_file, offer_to_pose_tab
from demo_app.runs.folders import RunError, folder_size_mb
from demo_app.runs.process import ask_to_stop, kill, start
from demo_app.runs.status import read_status
from demo_app.services import Services
from models.training.checkpoints import checkpoint_path

FILE_PATH = "/studio/training/file"
REFUSED = (RunError, RunConfigError)
EXPORT_KINDS = ("safetensors", "released", "onnx")

Message = Mapping[str, Any]
Answer = dict[str, Any]
Act = Callable[[Services, Message], Answer]


def act(services: Services, message: Message) -> Answer:
    """{"do": what, "token": of the page, ...} to an answer with "error" or "note".

    Nothing is changed where the page may not, or without its token.
    """
    why, token = why_not(services), str(message.get("token") or "")
    if why:
        return {"error": why}
    if not secrets.compare_digest(token.encode(), desk_of(services).token.encode()):
        return {"error": "The server was started anew meanwhile: press it again.", "stale": True}
    chosen = ACTS.get(str(message.get("do")))
    if chosen is None:
        return {"error": "There is no such thing to do."}
    try:
        return chosen(services, message)
    except REFUSED as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"That did not work ({error.strerror}): check the disk."}


def _values(message: Message) -> Message:
    values = message.get("values")
    if not isinstance(values, Mapping):
        raise RunConfigError("The form sent no values.")
    return values


def _name(message: Message) -> str:
    return str(message.get("name") or "")


def _step(message: Message) -> int:
    step = message.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise RunError("Say which checkpoint.")
    return step


def _check(services: Services, message: Message) -> Answer:
    return check_values(services, _values(message))


def _begin(services: Services, message: Message) -> Answer:
    """A new run from the form, started."""
    values = _values(message)
    told = check_values(services, values)
    if told["problems"]:
        return {"error": " ".join(told["problems"]), **told}
    config = config_from_values(values)
    name = str(values.get("name") or "").strip()
    services.runs.create(name, config)
    _launch(services, name)
    return {"note": f"{name} has been started.", "run": name}


def _launch(services: Services, name: str, from_checkpoint: Path | None = None) -> None:
    """Start the process of a run. Raises: RunError."""
    folder = services.runs.path(name)
    if read_status(folder).goes_on:
        raise RunError(f"{name} goes on already.")
    config = read_run_config(folder / CONFIG_FILE)
    problems = problems_of(config)
    if problems:
        raise RunError(" ".join(problems))
    command = command_of(folder / CONFIG_FILE, folder, config.train)
    if from_checkpoint is not None:
        command += ["--from-checkpoint", str(from_checkpoint)]
    start(folder, command, REPOSITORY_ROOT, child_environment())


def _stop(services: Services, message: Message) -> Answer:
    ask_to_stop(services.runs.path(_name(message)))
    return {"note": "It finishes its step, writes a checkpoint and ends."}


def _kill(services: Services, message: Message) -> Answer:
    folder = services.runs.path(_name(message))
    asked = folder / STOP_FILE
    if not asked.exists() or time() - asked.stat().st_mtime < KILL_AFTER_S:
        raise RunError("Press Stop first, and give it a moment to write its checkpoint.")
    kill(folder)
    return {"note": "It was killed; its checkpoints so far are good."}


def _resume(services: Services, message: Message) -> Answer:
    """From the newest checkpoint."""
    name = _name(message)
    _launch(services, name)
    return {"note": f"{name} goes on from its newest checkpoint.", "run": name}


def _branch(services: Services, message: Message) -> Answer:
    """From an earlier checkpoint, in a copy: what came later stays in the run itself."""
    name, step = _name(message), _step(message)
    new = services.runs.free_name(f"{name}-from-{step}")
    folder = services.runs.copy(name, new, step)
    _launch(services, new, checkpoint_path(folder / CHECKPOINT_FOLDER, step))
    return {"note": f"{new} goes on from step {step}; {name} stays as it is.", "run": new}


def _duplicate(services: Services, message: Message) -> Answer:
    """Its configuration in the form; with a step, beginning with the weights of that checkpoint."""
    name = _name(message)
    folder = services.runs.path(name)
    config = read_run_config(folder / CONFIG_FILE)
    if message.get("step") is not None:
        path = checkpoint_path(folder / CHECKPOINT_FOLDER, _step(message))
        if not path.is_file():
            raise RunError("This checkpoint was deleted; choose another one.")
        config = replace(config, start=str(path))
    return {"values": values_of(config), "name": services.runs.free_name(name)}


def _delete(services: Services, message: Message) -> Answer:
    """Asked twice: the second time with the name again."""
    name = _name(message)
    folder = services.runs.path(name)
    if read_status(folder).goes_on:
        raise RunError(f"{name} goes on: stop it first.")
    if message.get("again") != name:
        size = folder_size_mb(folder)
        return {"ask": f"{name} has {size:,.0f} MB of checkpoints, curves and pictures. "
                "They cannot be brought back."}  # fmt: skip
    services.runs.delete(name)
    desk_of(services).forget(folder)
    return {"note": f"{name} was deleted.", "run": ""}


def _export(services: Services, message: Message) -> Answer:
    name, step, kind = _name(message), _step(message), str(message.get("kind"))
    if kind not in EXPORT_KINDS:
        raise RunError("There is no such format.")
    path = export_file(services.runs.path(name), step, kind)
    address = f"{FILE_PATH}?run={name}&step={step}&kind={kind}"
    return {"note": f"{path.name}, {path.stat().st_size / 1e6:.1f} MB", "download": address}


def _use(services: Services, message: Message) -> Answer:
    """Export and offer it to the Pose tab."""
    own = offer_to_pose_tab(services.runs, _name(message), _step(message))
    services.forget_estimator(own.name)
    return {"note": f"The Pose tab uses {own.label}.", "model": own.name}


def _evaluate(services: Services, message: Message) -> Answer:
    folder, step = services.runs.path(_name(message)), _step(message)
    protocol = str(message.get("protocol") or "")
    if protocol not in {name for name, _, _ in offered_protocols()}:
        raise RunError("There is no such protocol.")
    data = Path(str(message.get("data") or "").strip()).expanduser()
    start_evaluation(folder, step, protocol, data, REPOSITORY_ROOT, child_environment())
    return {"note": f"{protocol} is measured with step {step}."}


def _keep(services: Services, message: Message) -> Answer:
    name = save_config(services, str(message.get("name") or ""), _values(message))
    return {"note": f"Saved as {name}.", "saved": saved_configs(services)}


def _take(services: Services, message: Message) -> Answer:
    name = _name(message)
    return {"values": saved_values(services, name), "note": f"{name} is in the form."}


def _load(_: Services, message: Message) -> Answer:
    return {"values": loaded_values(str(message.get("text") or "")), "note": "It is in the form."}


def _measure(_: Services, message: Message) -> Answer:
    return {"measured": measure(_values(message))}


ACTS: dict[str, Act] = {
    "check": _check,
    "begin": _begin,
    "stop": _stop,
    "kill": _kill,
    "resume": _resume,
    "branch": _branch,
    "duplicate": _duplicate,
    "delete": _delete,
    "export": _export,
    "use": _use,
    "evaluate": _evaluate,
    "keep": _keep,
    "take": _take,
    "load": _load,
    "measure": _measure,
}
