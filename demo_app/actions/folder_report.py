"""What several finished pictures are summed up with."""

from __future__ import annotations

from demo_app.actions.progress_text import end_html
from demo_app.actions.results import FolderResult


def folder_end_html(result: FolderResult) -> str:
    """How many pictures and faces, and what could not be used."""
    faces = sum(len(one.faces) for one in result.results)
    pictures = len(result)
    summary = (
        f"{pictures} {'picture' if pictures == 1 else 'pictures'}, "
        f"{faces} {'face' if faces == 1 else 'faces'}. {result.model_label}."
    )
    return end_html(summary, result.problems)


def picture_menu(result: FolderResult) -> list[tuple[str, int]]:
    """(name and number of faces, index) of every picture."""
    return [
        (f"{one.source} ({len(one.faces)} {'face' if len(one.faces) == 1 else 'faces'})", index)
        for index, one in enumerate(result.results)
    ]
