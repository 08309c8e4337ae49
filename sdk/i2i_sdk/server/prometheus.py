"""What Prometheus reads at /metrics. The registry is this server's own: two servers may share a process."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class StageTimings:
    """Where the time of one picture went, in milliseconds."""

    wait: float  # for the engine's turn, since the picture was here
    decode: float
    engine: float  # resizing, the engine, and resizing back
    encode: float


STAGES = tuple(field.name for field in fields(StageTimings))


class Metrics:
    """Counters of one server. For the event loop's thread.

    registry: all of them. dropped: frames that a newer one replaced. errors: what clients were told, by code.
    clients: open WebSockets.
    """

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self._frames = Counter("i2i_frames", "Pictures translated", ["model", "transport"], registry=own)
        text = "Frames replaced by a newer one of their client"
        self.dropped = Counter("i2i_frames_dropped", text, registry=own)
        self.errors = Counter("i2i_errors", "Requests and frames refused", ["code"], registry=own)
        text, labels = "Time of one picture", ["model", "stage"]
        self._seconds = Histogram("i2i_stage_seconds", text, labels, registry=own, buckets=BUCKETS_S)
        self.clients = Gauge("i2i_clients", "Open WebSockets", registry=own)

    def count_translated(self, model: str, transport: str, timings: StageTimings) -> None:
        """Count a picture.

        Args:
            model: its name.
            transport: "websocket" or "post".
            timings: of the picture, in milliseconds.
        """
        self._frames.labels(model, transport).inc()
        for stage, milliseconds in zip(STAGES, astuple(timings), strict=True):
            self._seconds.labels(model, stage).observe(milliseconds / 1000)
