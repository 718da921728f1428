"""Manifests are valid by the platform's own rules, and say what the plan says."""

import shlex
import subprocess

import kubernetes_validate
import pytest
import yaml

from stoker.deploy.commented_yaml import Note, plain, render
from stoker.deploy.deployment import resource_name
from stoker.deploy.formats import FORMATS, manifest
from stoker.deploy.images import is_local, push_hint
from stoker.deploy.kubernetes import kubernetes_documents
from stoker.errors import UsageError

CASES = [
    ("qwen2.5-0.5b", "cpu:8c-16g", {}),
    ("qwen2.5-7b", "cpu:16c-64g-avx512_bf16", {"replicas": 3}),
    ("llama-3.1-8b", "1xH100-80GB", {"replicas": 2}),
    ("qwen2.5-72b", "4xH100-80GB,cpu:64c-512g", {"image": "registry.example/stoker:nvidia"}),
]
VERSIONS = ("1.29", kubernetes_validate.latest_version())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("model", "machine", "options"), CASES)
def test_kubernetes_manifests_are_valid_and_strictly_so(model, machine, options, version, deployment):
    documents = list(yaml.safe_load_all(manifest("kubernetes", deployment(model, machine, **options))))
    assert [document["kind"] for document in documents] == [
        *("ServiceAccount", "PersistentVolumeClaim", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
    ]
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_validation_can_fail(deployment):
    document = next(one for one in kubernetes_documents(deployment(*CASES[0][:2])) if one["kind"] == "Deployment")
    broken = plain(document)
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


@pytest.mark.parametrize(("model", "machine", "options"), CASES)
def test_the_text_says_what_the_documents_say_and_why(model, machine, options, deployment):
    server = deployment(model, machine, **options)
    documents = kubernetes_documents(server)
    text = manifest("kubernetes", server)
    assert list(yaml.safe_load_all(text)) == [plain(document) for document in documents]
    said = " ".join(line.strip().removeprefix("# ") for line in text.splitlines() if line.strip().startswith("#"))
    reasons = [server.sizing.memory, server.sizing.shared_memory, server.sizing.cache, server.sizing.startup]
    assert [each.why for each in reasons if each.why not in said] == []


@pytest.mark.parametrize(("model", "machine", "options"), CASES)
def test_the_pod_has_what_the_plan_takes(model, machine, options, deployment):
    server = deployment(model, machine, **options)
    sizing = server.sizing
    documents = {one["kind"]: plain(one) for one in kubernetes_documents(server)}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert kubernetes_bytes(limits["memory"]) == sizing.memory.value
    assert limits["memory"] == requests["memory"]
    assert int(limits.get("nvidia.com/gpu", 0)) == sizing.gpus.value
    startup, grace = container["startupProbe"], pod["terminationGracePeriodSeconds"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= sizing.startup.value
    assert grace > 30 + int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert kubernetes_bytes(volumes["shm"]["emptyDir"]["sizeLimit"]) == sizing.shared_memory.value
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert (
        documents["Service"]["spec"]["selector"].items()
        <= documents["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )


def test_replicas_share_a_volume_that_several_nodes_can_mount(deployment):
    one, three = (deployment(*CASES[0][:2], replicas=replicas) for replicas in (1, 3))
    modes = [plain(kubernetes_documents(server)[1])["spec"]["accessModes"] for server in (one, three)]
    strategies = [plain(kubernetes_documents(server)[2])["spec"]["strategy"]["type"] for server in (one, three)]
    assert modes == [["ReadWriteOnce"], ["ReadWriteMany"]]
    assert strategies == ["Recreate", "RollingUpdate"]


def test_no_update_waits_for_gpus_that_are_not_there(deployment):
    strategy = plain(kubernetes_documents(deployment("llama-3.1-8b", "1xH100-80GB", replicas=2))[2])["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_a_pod_may_do_nothing_that_it_need_not(deployment):
    pod = plain(kubernetes_documents(deployment(*CASES[0][:2]))[2])["spec"]["template"]["spec"]
    container = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(("model", "machine", "options"), CASES)
def test_every_format_pins_the_model_and_the_plan(model, machine, options, deployment):
    server = deployment(model, machine, **{**options, "replicas": 1})
    for form in FORMATS:
        text = manifest(form, server)
        assert server.image in text
        assert [word for word in server.arguments if word not in text] == []
    assert server.arguments[0].endswith("@0123456789abcdef0123456789abcdef01234567")
    assert f"--max-seq-len={server.plan.chosen.max_seq_len}" in server.arguments


def test_the_docker_script_is_one_valid_command(deployment, tmp_path):
    server = deployment("qwen2.5-72b", "4xH100-80GB", reference="/models of mine/one")
    text = manifest("docker", server)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    (tmp_path / "docker").write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    (tmp_path / "docker").chmod(0o755)
    answer = subprocess.run(
        ["/bin/sh"], input=text, text=True, capture_output=True, check=True, env={"PATH": str(tmp_path)}
    )
    words = answer.stdout.splitlines()
    assert words[0] == "run"
    assert words[words.index("--gpus") + 1] == "4"
    assert "/models of mine/one:/models/one:ro" in words
    assert words[words.index("stoker:nvidia") + 1 :] == list(server.arguments)


def test_compose_gives_the_devices_and_the_limits(deployment):
    server = deployment("qwen2.5-72b", "4xH100-80GB")
    service = yaml.safe_load(manifest("compose", server))["services"]["stoker"]
    devices = service["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 4, "capabilities": ["gpu"]}]
    memory = server.sizing.memory.value
    assert service["deploy"]["resources"]["limits"]["memory"] in (f"{memory >> 20}m", f"{memory >> 30}g")
    assert service["command"] == list(server.arguments)


def test_a_quadlet_has_only_keys_that_quadlet_knows(deployment):
    """podman-systemd.unit(5) of podman 4.6."""
    known = {
        *("ContainerName", "Image", "Exec", "PublishPort", "Volume", "AddDevice", "Ulimit", "ShmSize"),
        *("PodmanArgs", "ReadOnly", "DropCapability", "NoNewPrivileges", "Secret"),
    }
    text = manifest("quadlet", deployment("qwen2.5-72b", "4xH100-80GB"))
    body = text.split("[Container]")[1].split("[Service]")[0]
    lines = [line for line in body.splitlines() if line and not line.startswith("#")]
    assert {line.split("=", 1)[0] for line in lines} <= known
    assert sum(line.startswith("AddDevice=nvidia.com/gpu=") for line in lines) == 4
    execution = next(line for line in lines if line.startswith("Exec=")).removeprefix("Exec=")
    assert shlex.split(execution)[0].startswith("org/qwen2.5-72b@")


@pytest.mark.parametrize(("form", "gpus"), [("compose", "count: 4"), ("docker", "--gpus 4")])
def test_one_host_s_container_has_the_gpus_of_all_replicas(form, gpus, deployment):
    server = deployment("llama-3.1-8b", "4xH100-80GB")
    assert len(server.plan.replicas) == 4
    text = manifest(form, server)
    assert gpus in text
    assert "--replicas=4" in text
    one = deployment("llama-3.1-8b", "1xH100-80GB")
    assert server.sizing.shared_memory.value >= 4 * (one.sizing.shared_memory.value - (64 << 20))


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_that_no_registry_has_is_never_written_without_a_word(form, deployment):
    local = manifest(form, deployment(*CASES[0][:2]))
    words = " ".join(line.strip().removeprefix("# ") for line in local.splitlines())
    assert "docker push REGISTRY/stoker:cpu" in words
    assert "STOKER_IMAGE=REGISTRY/stoker:cpu" in words
    own = manifest(form, deployment(*CASES[0][:2], image="registry.example/team/stoker:cpu"))
    assert "registry.example/team/stoker:cpu" in own
    assert "docker push" not in own


@pytest.mark.parametrize(
    ("image", "local"),
    [
        ("stoker:cpu", True),
        ("localhost/stoker:cpu", True),
        ("stoker", True),
        ("team/stoker:cpu", False),
        ("registry.example:5000/stoker", False),
        ("ghcr.io/team/stoker@sha256:0", False),
    ],
)
def test_names_of_registries_are_known(image, local):
    assert is_local(image) is local
    assert bool(push_hint(image)) is local


def test_a_directory_of_this_host_cannot_go_to_a_cluster(deployment):
    server = deployment(*CASES[0][:2], reference="/srv/models/mine")
    with pytest.raises(UsageError, match="a cluster's nodes do not have it"):
        manifest("kubernetes", server)
    assert "/srv/models/mine:/models/mine:ro" in manifest("compose", server)


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("demo", "stoker-demo"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "stoker-qwen2-5-0-5b-instruct"),
        ("模型", "stoker-model"),
        ("a/" + "long-" * 30, "stoker-" + "long-" * 9),
    ],
)
def test_resources_have_names_that_dns_takes(name, resource):
    assert resource_name(name) == resource.rstrip("-")
    assert len(resource_name(name)) <= 52


def test_yaml_with_comments_reads_back_without_them():
    document = {
        Note("a # note: with: everything"): None,
        "text": "yes",
        "number": "8000",
        "empty": [],
        "list": ["- dash", {Note("inside"): None, "key": None}, ["nested", {}]],
        "multi": "two\nlines",
    }
    text = render([document, {"second": True}])
    assert list(yaml.safe_load_all(text)) == [plain(document), {"second": True}]
    assert "# a # note: with: everything\n" in text
    assert "- # inside\n" in text


def kubernetes_bytes(text: str) -> int:
    units = {"Mi": 1 << 20, "Gi": 1 << 30}
    return int(text[:-2]) * units[text[-2:]]


def test_a_gpu_of_torch_s_has_its_image_and_an_amd_gpu_has_none_yet(deployment) -> None:
    assert deployment("llama-3.1-8b", "4xT4,cpu:16c-64g").image == "stoker:torch"
    with pytest.raises(UsageError, match="no manifests for AMD GPUs yet"):
        deployment("llama-3.1-8b", "MI300X,cpu:16c-64g")
