"""Work ahead in a thread of its own, by a bounded number of items."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Generator[Item, None, None], ahead: int) -> Generator[Item, None, None]:
    """The same items, up to `ahead` of them made before they are asked for.

    An error of `items` is raised where its item was due. Use it inside `contextlib.closing`: on
    leaving, by the end, an exception or a cancel, the item being made is waited for, no other is
    begun and `items` is closed. There is no queue on which either side could wait for ever.
    """
    end = object()
    pending: deque[Future[Item | object]] = deque()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
            try:
                pending.extend(thread.submit(next, items, end) for _ in range(ahead))
                while (item := pending.popleft().result()) is not end:
                    pending.append(thread.submit(next, items, end))
                    yield item
            finally:
                for future in pending:
                    future.cancel()
    finally:
        items.close()
