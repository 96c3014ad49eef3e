"""What a preparation found, actor by actor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from viewer.mica.picture import PictureResult
from viewer.mica.prepare import Preparation


@dataclass(frozen=True)
class ActorRow:
    """Pictures of one actor. listed = found + missing; found = ready + no_face + unreadable +
    clashes + not_yet.

    several_faces: pictures with more than one face, ready or not. clashes: left out, since another
    one has the same name. same_name: pictures whose name several files have, of which the first was
    taken. kept: files with another content that were not replaced. parameters: "" where they are
    missing. registrations: how many; -1 where none were asked for.
    """

    subset: str
    actor: str
    listed: int
    found: int
    missing: int
    ready: int
    no_face: int
    several_faces: int
    unreadable: int
    clashes: int
    not_yet: int
    same_name: int
    kept: int
    parameters: str
    registrations: int


def actor_rows(done: Preparation) -> list[ActorRow]:
    """In the order of the actors' names."""
    results: dict[str, list[PictureResult]] = {actor: [] for actor in done.wanted.actors}
    same_name = Counter(p.actor for p in done.wanted.pictures if p.same_name > 1)
    for result in done.results:
        results[result.actor].append(result)
    kept = Counter(name.split("/")[1] for name in done.fits.kept)
    return [
        _actor_row(done, actor, results[actor], same_name[actor], kept[actor])
        for actor in done.wanted.actors
    ]


def _actor_row(
    done: Preparation, actor: str, results: Sequence[PictureResult], same_name: int, kept: int
) -> ActorRow:
    states = Counter(result.state for result in results)
    return ActorRow(
        subset=done.inputs.subset,
        actor=actor,
        listed=len(results),
        found=len(results) - states["missing"],
        missing=states["missing"],
        ready=states["ready"],
        no_face=states["no face"],
        several_faces=sum(result.faces > 1 for result in results),
        unreadable=states["unreadable"],
        clashes=states["clash"],
        not_yet=states["not yet"],
        same_name=same_name,
        kept=kept + sum(len(result.kept) for result in results),
        parameters=" ".join(done.fits.parameters.get(actor, ())),
        registrations=done.fits.registrations.get(actor, -1),
    )
