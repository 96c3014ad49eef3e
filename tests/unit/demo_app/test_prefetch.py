"""Work ahead in a thread: errors come through, and leaving early leaves nothing behind."""

from __future__ import annotations

import threading

import pytest

from demo_app.inference.prefetch import prefetched


def test_work_ahead_raises_where_the_item_was_due():
    def items():
        yield 1
        yield 2
        raise OSError("planted")

    ahead = prefetched(items(), 4)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="planted"):
        next(ahead)


def test_leaving_early_closes_what_was_being_read():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    source = items()
    ahead = prefetched(source, 3)
    next(ahead)
    ahead.close()
    assert source.gi_frame is None and closed.is_set()
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]
