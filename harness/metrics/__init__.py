"""One metric per file, each a mergeable per-episode state."""

from harness.metrics.base import Metric, MetricContext, State, metric_class

__all__ = ["Metric", "MetricContext", "State", "metric_class"]
