"""Files of the prepared set: each appears whole, and none is replaced unless that was asked for."""

from __future__ import annotations

import filecmp
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class OutputFiles:
    """Writes below a folder. kept: files, relative to it, that were there with another content."""

    root: Path
    overwrite: bool
    kept: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes) -> None:
        """Raises: OSError."""
        path = self.root / name
        if path.is_file() and path.read_bytes() == content:
            return
        if self._is_free(path, name):
            partial = _partial(path)
            partial.write_bytes(content)
            partial.replace(path)

    def copy(self, name: str, source: Path) -> None:
        """Raises: OSError."""
        path = self.root / name
        if path.is_file() and filecmp.cmp(source, path, shallow=False):
            return
        if self._is_free(path, name):
            partial = _partial(path)
            shutil.copyfile(source, partial)
            partial.replace(path)

    def drop(self, name: str) -> None:
        """Takes away what an earlier run wrote and this one would not. Raises: OSError."""
        path = self.root / name
        if path.is_file():
            if self.overwrite:
                path.unlink()
            else:
                self.kept.append(name)

    def _is_free(self, path: Path, name: str) -> bool:
        if path.exists() and not self.overwrite:
            self.kept.append(name)
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        return True


def _partial(path: Path) -> Path:
    """Short, as the name itself may be as long as names can be; hidden, so that nobody reads it."""
    return path.with_name(f".{hashlib.sha1(path.name.encode()).hexdigest()[:16]}.partial")
