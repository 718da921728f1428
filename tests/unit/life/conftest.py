"""A plan to begin with."""

from __future__ import annotations

import pytest

from stoker.chain import make_plan_for
from stoker.plan.types import Plan
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.settings.layers import load_settings


@pytest.fixture(scope="session")
def plan() -> Plan:
    settings = load_settings({"model": "demo"}, {})
    machine = load_description("cpu:4c-8g")
    return make_plan_for(settings, Silent(), weights=False, machine=machine, buildable=False)
