"""A model over several machines: a LeaderWorkerSet, of whose pods the first serves."""

from __future__ import annotations

import kubernetes_validate
import pytest
import yaml
from tests.unit.deploy.conftest import DRAIN, model_of

from stoker.deploy.deployment import make_deployment
from stoker.deploy.formats import manifest
from stoker.deploy.sizing import size
from stoker.errors import UsageError
from stoker.kinds import kind_named, plan_kinds
from stoker.origin import Origin, Sourced
from stoker.plan.planner import make_plan
from stoker.plan.types import Overrides
from stoker.probe.description import load_description


@pytest.fixture(scope="module")
def server():
    overrides = Overrides(engine=Sourced("vllm", Origin.FLAG, ""), precision=Sourced("bf16", Origin.FLAG, ""))
    plan = make_plan(load_description("2x(8xH100-80GB)"), model_of("llama-3.1-405b"), plan_kinds(), overrides)
    part = kind_named("vllm").deploy
    return make_deployment(plan, part, size(plan, part, DRAIN), (), image="registry.example/stoker:vllm", port=8000)


@pytest.fixture(scope="module")
def documents(server):
    return {each["kind"]: each for each in yaml.safe_load_all(manifest("kubernetes", server))}


def test_each_machine_has_its_gpus_and_the_whole_group_starts_again(documents):
    template = documents["LeaderWorkerSet"]["spec"]["leaderWorkerTemplate"]
    assert (template["size"], template["restartPolicy"]) == (2, "RecreateGroupOnPodRestart")
    for role in ("leaderTemplate", "workerTemplate"):
        (container,) = template[role]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
        assert {"--nodes=2", "--tensor-parallel=8", "--pipeline-parallel=2"} <= set(container["args"])


def test_only_the_leader_is_asked_and_served_from(documents):
    template = documents["LeaderWorkerSet"]["spec"]["leaderWorkerTemplate"]
    leader, worker = (template[role]["spec"]["containers"][0] for role in ("leaderTemplate", "workerTemplate"))
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= leader.keys()
    assert {"startupProbe", "readinessProbe", "livenessProbe", "ports"}.isdisjoint(worker.keys())
    assert documents["Service"]["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"


def test_the_machines_may_talk_to_each_other_and_share_a_cache(documents):
    policy = documents["NetworkPolicy"]["spec"]
    own = {"podSelector": {"matchLabels": documents["LeaderWorkerSet"]["metadata"]["labels"]}}
    assert {"from": [own]} in policy["ingress"]
    assert {"to": [own]} in policy["egress"]
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_every_document_and_pod_is_valid(documents):
    template = documents["LeaderWorkerSet"]["spec"]["leaderWorkerTemplate"]
    pods = [
        {"apiVersion": "v1", "kind": "Pod", **template[role], "metadata": {"name": "x", **template[role]["metadata"]}}
        for role in ("leaderTemplate", "workerTemplate")
    ]
    known = [each for kind, each in documents.items() if kind != "LeaderWorkerSet"]
    for document in (*known, *pods):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("form", ["compose", "quadlet", "docker"])
def test_one_host_is_not_several_machines(form, server):
    with pytest.raises(UsageError, match="2 machines"):
        manifest(form, server)
