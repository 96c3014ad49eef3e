"""Chunks on a Ray cluster: Ray Data hands them to actors, each of which holds the network.

Every machine must see this program, the data set and the weights under the same paths. The rows are
those of one process: an actor runs the same code on the same chunk, on one processor thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import pyarrow as pa

from demo_app.evaluation.chunks import Work
from demo_app.evaluation.faces import EvaluationError

LOCAL_STORE_BYTES = 128 << 20


@dataclass(frozen=True)
class RayRun:
    """workers: actors. address: of a cluster, such as "auto"; None starts Ray on this machine.

    gpus_each: of a GPU, for each actor.
    """

    workers: int
    address: str | None = None
    gpus_each: float = 0.0

    def __call__(
        self, work: Work, keys_of: Mapping[int, Sequence[str]]
    ) -> Iterator[tuple[int, pa.Table]]:
        """Raises: EvaluationError without Ray, or where the cluster cannot be reached."""
        if not keys_of:
            return
        ray = _ray()
        self._start(ray)
        try:
            yield from self._chunks(ray, work, keys_of)
        finally:
            ray.shutdown()

    def _start(self, ray: ModuleType) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        local = (
            {}
            if self.address
            else {
                "num_cpus": self.workers,
                "include_dashboard": False,
                "object_store_memory": LOCAL_STORE_BYTES,
            }
        )
        try:
            ray.init(self.address, **quiet, **local)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise EvaluationError(f"Ray cannot be reached: {error}") from error

    def _chunks(
        self, ray: ModuleType, work: Work, keys_of: Mapping[int, Sequence[str]]
    ) -> Iterator[tuple[int, pa.Table]]:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        items = [{"chunk": number, "keys": list(keys)} for number, keys in keys_of.items()]
        answers = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Actor,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_args=(work,),
            compute=ray.data.ActorPoolStrategy(size=self.workers),
            num_cpus=1,
            num_gpus=self.gpus_each,
        )
        for block in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
            for number, encoded in zip(
                block["chunk"].to_pylist(), block["table"].to_pylist(), strict=True
            ):
                yield number, pa.ipc.open_stream(encoded).read_all().cast(work.schema)


class _Actor:
    """Holds the network; a chunk's rows travel as one value, so Ray does not touch them."""

    def __init__(self, work: Work) -> None:
        self._look = work.open()

    def __call__(self, items: pa.Table) -> pa.Table:
        encoded = []
        for keys in items["keys"].to_pylist():
            table, sink = self._look(keys), pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            encoded.append(sink.getvalue().to_pybytes())
        return pa.table({"chunk": items["chunk"], "table": pa.array(encoded, pa.large_binary())})


def _ray() -> ModuleType:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EvaluationError(
            "--scale-out ray needs the package ray: pip install -r requirements-scale.txt."
        ) from error
    return ray
