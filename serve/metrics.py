"""Measurements for Prometheus: each app has its own registry."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from serve.context import PROVIDERS
from serve.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_STEP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH = (1, 2, 4, 8, 16, 32)
_CONFIDENCE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """All that /metrics shows."""

    def __init__(self) -> None:
        """Everything at zero."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        names = ("route", "method")
        self.requests = Counter("sermodels_http_requests", "Requests answered", (*names, "status"), registry=registry)
        self.request_s = Histogram(
            "sermodels_http_request_duration_seconds",
            "Time to answer",
            names,
            registry=registry,
            buckets=_REQUEST_S,
        )
        self.in_flight = Gauge("sermodels_http_requests_in_flight", "Requests in work", registry=registry)
        self.queue_depth = Gauge("sermodels_queue_depth", "Windows that wait for a batch", registry=registry)
        self.batch_size = Histogram("sermodels_batch_size", "Windows in a batch", registry=registry, buckets=_BATCH)
        self.inference_s = Histogram(
            "sermodels_inference_seconds", "Time of the classifier for a batch", registry=registry, buckets=_STEP_S
        )
        self.step_s = Histogram(
            "sermodels_generation_step_seconds", "Time of one denoising step", registry=registry, buckets=_STEP_S
        )
        self.answers = Counter("sermodels_answers", "Recordings classified", ("model", "emotion"), registry=registry)
        self.confidence = Histogram(
            "sermodels_answer_confidence",
            "Probability of the emotion that was answered",
            ("model",),
            registry=registry,
            buckets=_CONFIDENCE,
        )
        self.records = Counter(
            "sermodels_watch_records", "Records of answers for drift detection", ("outcome",), registry=registry
        )
        self.ready = Gauge("sermodels_ready", "1 while requests may come", registry=registry)
        self.device = Info("sermodels_device", "Where the models run", registry=registry)
        self.bundles = Info("sermodels_bundle", "What is served", ("role",), registry=registry)
        self.switches = Counter(
            "sermodels_bundle_switches", "New bundles, taken or refused", ("outcome",), registry=registry
        )
        for outcome in ("taken", "refused"):
            self.switches.labels(outcome)

    def count_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """One request was answered."""
        known = method if method in _METHODS else "other"
        self.requests.labels(route, known, str(status)).inc()
        self.request_s.labels(route, known).observe(duration_s)

    def count_answer(self, model: str, emotion: str, confidence: float) -> None:
        """One recording was classified."""
        self.answers.labels(model, emotion).inc()
        self.confidence.labels(model).observe(confidence)

    def count_record(self, outcome: str) -> None:
        """A record was `kept`, `failed`, or was `left_out` because too many waited."""
        self.records.labels(outcome).inc()

    def observe(self, name: str, value: float) -> None:
        """The service's hook: `queue_depth`, `batch_size`, `inference_s` or `generation_step_s`."""
        if name == "queue_depth":
            self.queue_depth.set(value)
            return
        histograms = {"batch_size": self.batch_size, "inference_s": self.inference_s, "generation_step_s": self.step_s}
        histograms[name].observe(value)

    def describe(self, service: Service) -> None:
        """What is served now, and where it runs."""
        self.device.info({"device": service.device, "execution_provider": PROVIDERS[service.device]})
        self.bundles.clear()
        for role, bundle in service.bundles().items():
            model = bundle.manifest.provenance.classifier
            self.bundles.labels(role).info(
                {"name": model.name, "version": model.version, "stage": model.stage, "split": model.split}
            )

    def text(self) -> bytes:
        """All measurements in Prometheus' text format."""
        return generate_latest(self.registry)
