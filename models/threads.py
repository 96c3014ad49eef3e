"""How many processor threads a network gets.

Small networks run best on one: handing work between threads costs more than it saves, and where
other programs want the processors too (a browser beside a local server, a small Space) the threads
wait for each other. Measured on 2 cores, a tracked frame with trg-mini: 14 ms on one thread, 18 to
62 ms on two (`python -m demo_app benchmark pose`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """torch on one thread within the block, if wanted."""
    before = torch.get_num_threads()
    if not wanted or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
