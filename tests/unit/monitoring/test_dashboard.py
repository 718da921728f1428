"""What the dashboard and the alerts ask for is what /metrics shows."""

import pytest
from tests.dashboard import DASHBOARD, alert_queries, panel_queries, selectors

from stoker.launch.generation import ReplicaState
from stoker.serve.operate.lifecycle import Lifecycle
from stoker.serve.operate.metrics import Metrics


def exported() -> dict[str, set[str]]:
    """Every name that a scrape may show, with its labels; samples of histograms under their own names."""
    metrics = Metrics(Lifecycle())
    metrics.replicas = (ReplicaState(0, "ready"),)
    names = {sample.name: set(sample.labels) for family in metrics.registry.collect() for sample in family.samples}
    for instrument in metrics.instruments:
        for suffix in ("_bucket", "_sum", "_count", "_total", ""):
            names.setdefault(instrument.name + suffix, set(instrument.labels))
    return names


@pytest.mark.parametrize(("title", "expression"), panel_queries() + alert_queries())
def test_every_query_reads_metrics_that_are_exported(title: str, expression: str) -> None:
    names = exported()
    read = selectors(expression)
    assert read
    for metric, labels in read:
        assert metric in names, f"{title} asks for {metric}"
        assert labels - {"instance"} <= names[metric], f"{title} asks {metric} for {labels}"


def test_panels_have_a_title_a_description_a_unit_and_a_place_of_their_own() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
