"""Limits of control groups, on file trees as the kernel, docker, Kubernetes and systemd make them."""

from __future__ import annotations

import pytest

from stoker.probe.cgroup import Limits, read_limits, whole_cores

MIB = 1 << 20
GIB = 1 << 30
UNLIMITED_V1 = "9223372036854771712\n"

V2_HOST = "25 21 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V2_CONTAINER = (
    "700 650 0:60 / / rw - overlay overlay rw\n800 790 0:28 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
)


def v2(path: str, **files: str) -> dict[str, str]:
    return {f"/sys/fs/cgroup{path}/{name.replace('__', '.')}": text for name, text in files.items()}


def v1(controller: str, path: str, **files: str) -> dict[str, str]:
    return {f"/sys/fs/cgroup/{controller}{path}/{name.replace('__', '.')}": text for name, text in files.items()}


def v1_mount(controller: str, root: str = "/") -> str:
    return f"33 32 0:29 {root} /sys/fs/cgroup/{controller} ro - cgroup cgroup rw,{controller}\n"


def test_no_control_groups_at_all(tree):
    assert read_limits(tree({})) == Limits()


def test_bare_host_with_v2_has_no_limits(tree):
    session = "/user.slice/user-1000.slice/session-2.scope"
    root = tree(
        {"/proc/self/cgroup": f"0::{session}\n", "/proc/self/mountinfo": V2_HOST}
        | v2(session, memory__max="max\n", memory__high="max\n", memory__current="5000000\n", cpu__max="max 100000\n")
        | v2("/user.slice", memory__max="max\n", memory__current="90000000\n")
        | v2("", cpuset__cpus__effective="0-7\n", memory__stat="inactive_file 5\n")
    )
    assert read_limits(root) == Limits(cpus=frozenset(range(8)))


def test_docker_v2_with_limits(tree):
    root = tree(
        {"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2_CONTAINER}
        | v2(
            "",
            memory__max=f"{2 * GIB}\n",
            memory__high="max\n",
            memory__current=f"{900 * MIB}\n",
            memory__stat=f"anon 1\ninactive_file {600 * MIB}\nactive_file 7\n",
            cpu__max="150000 100000\n",
            cpuset__cpus__effective="0-3,8\n",
        )
    )
    assert read_limits(root) == Limits(
        memory=2 * GIB, memory_free=2 * GIB - 300 * MIB, cores=1.5, cpus=frozenset({0, 1, 2, 3, 8})
    )


def test_the_smallest_limit_of_all_ancestors_holds(tree):
    root = tree(
        {"/proc/self/cgroup": "0::/a/b/c\n", "/proc/self/mountinfo": V2_HOST}
        | v2("/a/b/c", memory__max="max\n", memory__current="0\n", cpu__max="400000 100000\n")
        | v2("/a/b", memory__max=f"{8 * GIB}\n", memory__current=f"{1 * GIB}\n", cpu__max="50000 20000\n")
        | v2("/a", memory__max=f"{9 * GIB}\n", memory__current=f"{6 * GIB}\n", cpu__max="max 100000\n")
        | v2("/other", memory__max="1\n", cpu__max="1000 100000\n")
    )
    assert read_limits(root) == Limits(memory=8 * GIB, memory_free=3 * GIB, cores=2.5)


def test_memory_high_below_memory_max_is_the_limit(tree):
    root = tree(
        {"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2_CONTAINER}
        | v2("", memory__max=f"{4 * GIB}\n", memory__high=f"{3 * GIB}\n", memory__current=f"{GIB}\n")
    )
    assert read_limits(root) == Limits(memory=3 * GIB, memory_free=2 * GIB)


def test_usage_above_the_limit_leaves_nothing_free(tree):
    root = tree(
        {"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2_CONTAINER}
        | v2("", memory__max="max\n", memory__high=f"{GIB}\n", memory__current=f"{2 * GIB}\n")
    )
    assert read_limits(root).memory_free == 0


def test_kubernetes_v1_nested_below_the_mount(tree):
    pod, container = "/kubepods/burstable/pod1", "/kubepods/burstable/pod1/c1"
    groups = f"9:memory:{container}\n5:cpu,cpuacct:{container}\n4:cpuset:{container}\n1:name=systemd:{container}\n"
    root = tree(
        {
            "/proc/self/cgroup": groups,
            "/proc/self/mountinfo": v1_mount("memory") + v1_mount("cpu,cpuacct") + v1_mount("cpuset"),
        }
        | v1(
            "memory",
            container,
            memory__limit_in_bytes=UNLIMITED_V1,
            memory__usage_in_bytes="5\n",
            memory__stat="hierarchical_memory_limit 9223372036854771712\n",
        )
        | v1(
            "memory",
            pod,
            memory__limit_in_bytes=f"{6 * GIB}\n",
            memory__usage_in_bytes=f"{2 * GIB}\n",
            memory__stat=f"inactive_file 1\ntotal_inactive_file {GIB}\n",
        )
        | v1("memory", "", memory__limit_in_bytes=UNLIMITED_V1, memory__usage_in_bytes=f"{99 * GIB}\n")
        | v1("cpu,cpuacct", container, cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
        | v1("cpu,cpuacct", pod, cpu__cfs_quota_us="350000\n", cpu__cfs_period_us="100000\n")
        | v1("cpuset", container, cpuset__cpus="0-5\n", cpuset__effective_cpus="2-3\n")
    )
    assert read_limits(root) == Limits(memory=6 * GIB, memory_free=5 * GIB, cores=3.5, cpus=frozenset({2, 3}))


def test_v1_container_whose_own_group_is_mounted_at_the_top(tree):
    """/proc/self/cgroup names the host's path, and the mount's root is that path."""
    group = "/docker/abc"
    root = tree(
        {"/proc/self/cgroup": f"9:memory:{group}\n", "/proc/self/mountinfo": v1_mount("memory", group)}
        | v1("memory", "", memory__limit_in_bytes=f"{GIB}\n", memory__usage_in_bytes=f"{100 * MIB}\n")
    )
    assert read_limits(root) == Limits(memory=GIB, memory_free=GIB - 100 * MIB)


@pytest.mark.parametrize("group", ["/docker/abc", "/../../elsewhere", "/kubepods/pod1/gone (deleted)"])
def test_a_path_that_is_not_under_the_mount_means_the_mount_itself(tree, group):
    root = tree(
        {"/proc/self/cgroup": f"0::{group}\n", "/proc/self/mountinfo": V2_CONTAINER}
        | v2("", memory__max=f"{GIB}\n", cpu__max="200000 100000\n")
    )
    assert read_limits(root) == Limits(memory=GIB, cores=2.0)


def test_v1_limit_of_an_ancestor_outside_the_container(tree):
    root = tree(
        {"/proc/self/cgroup": "9:memory:/\n", "/proc/self/mountinfo": v1_mount("memory")}
        | v1(
            "memory",
            "",
            memory__limit_in_bytes=UNLIMITED_V1,
            memory__usage_in_bytes=f"{GIB}\n",
            memory__stat=f"hierarchical_memory_limit {4 * GIB}\ntotal_inactive_file 0\n",
        )
    )
    assert read_limits(root) == Limits(memory=4 * GIB, memory_free=3 * GIB)


def test_hybrid_takes_each_controller_from_where_it_is(tree):
    unified = "42 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    root = tree(
        {
            "/proc/self/cgroup": "4:memory:/service\n1:name=systemd:/service\n0::/service\n",
            "/proc/self/mountinfo": v1_mount("memory") + unified,
        }
        | v1("memory", "/service", memory__limit_in_bytes=f"{3 * GIB}\n", memory__usage_in_bytes="0\n")
        | {
            "/sys/fs/cgroup/unified/service/cpu.max": "100000 100000\n",
            "/sys/fs/cgroup/unified/cgroup.procs": "1\n",
        }
    )
    assert read_limits(root) == Limits(memory=3 * GIB, memory_free=3 * GIB, cores=1.0)


def test_unlimited_v1_of_a_kernel_with_large_pages(tree):
    root = tree(
        {"/proc/self/cgroup": "9:memory:/\n", "/proc/self/mountinfo": v1_mount("memory")}
        | v1("memory", "", memory__limit_in_bytes="9223372036854710272\n", memory__usage_in_bytes="7\n")
    )
    assert read_limits(root) == Limits()


def test_a_mount_point_with_a_space(tree):
    root = tree(
        {
            "/proc/self/cgroup": "0::/\n",
            "/proc/self/mountinfo": "1 2 0:3 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n",
            "/mnt/my groups/memory.max": f"{GIB}\n",
        }
    )
    assert read_limits(root).memory == GIB


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("memory__max", "lots\n", "/sys/fs/cgroup/memory.max: 'lots' is not a number, and ignored"),
        ("cpu__max", "0 100000\n", "/sys/fs/cgroup: CPU quota '0 100000' is not understood, and ignored"),
        ("cpu__max", "1000 0\n", "/sys/fs/cgroup: CPU quota '1000 0' is not understood, and ignored"),
        ("cpu__max", "1000\n", "/sys/fs/cgroup: CPU quota '1000' is not understood, and ignored"),
        (
            "cpuset__cpus__effective",
            "0-x\n",
            "/sys/fs/cgroup/cpuset.cpus.effective: '0-x' is not a list of CPUs, and ignored",
        ),
    ],
)
def test_weird_values_are_ignored_with_a_note(tree, name, text, note):
    root = tree({"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2_CONTAINER} | v2("", **{name: text}))
    assert read_limits(root) == Limits(notes=(note,))


@pytest.mark.parametrize(
    "files", [{"memory__max": ""}, {"memory__max": "0\n"}, {"cpu__max": ""}, {"cpuset__cpus__effective": "\n"}]
)
def test_empty_and_zero_say_nothing(tree, files):
    root = tree({"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2_CONTAINER} | v2("", **files))
    assert read_limits(root) == Limits()


@pytest.mark.parametrize("text", ["nonsense\n", "0::\n", "", "\x00\xff"])
def test_damaged_proc_files_are_no_limits(tree, text):
    root = tree({"/proc/self/cgroup": text, "/proc/self/mountinfo": "1 2 3\nx - y\n" + text})
    assert read_limits(root) == Limits()


@pytest.mark.parametrize(
    ("quota", "cores"), [(0.05, 1), (0.5, 1), (1.0, 1), (1.1, 1), (1.5, 2), (2.49, 2), (3.9, 4), (64.0, 64)]
)
def test_fractional_quota_as_whole_cores(quota, cores):
    assert whole_cores(quota) == cores
