import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.unit.bench.figures import load, measured, report

from stoker.bench.chart import check_chart, draw
from stoker.bench.memory import peak_bytes, server_memory
from stoker.bench.schema import bench_schema, schema_text
from stoker.bench.server import last_words
from stoker.bench.table import render
from stoker.bench.types import NotRun, Report
from stoker.cli.bench import bench_parser, workload_from
from stoker.errors import UsageError
from stoker.processes import family

DOCUMENT = Path(__file__).parents[3] / "docs" / "bench.schema.json"
REFUSED = NotRun("tensorrt_llm", "", "it needs a GPU")


@pytest.fixture
def found() -> Report:
    ours = measured("openvino", "int4", load(1, 50.0), load(16, 300.0))
    return report(ours, measured("torch", "bf16", load(1, 10.0), load(16, 100.0)), not_run=(REFUSED,))


def test_the_table_has_every_load_its_ratio_and_what_was_not_run(found: Report) -> None:
    text = render(found)
    rows = [line.split() for line in text.splitlines() if line.startswith("openvino int4")]
    assert rows[0][2:6] == ["1", "0", "50.0", "(5.00x)"]
    assert rows[1][2:6] == ["16", "0", "300.0", "(3.00x)"]
    assert "x is the ratio to torch bf16" in text
    assert "not run: tensorrt_llm: it needs a GPU" in text


def test_json_is_what_the_documented_schema_says(found: Report) -> None:
    assert DOCUMENT.read_text() == schema_text()
    document = json.loads(json.dumps(asdict(found)))
    assert set(document) == set(bench_schema()["required"])
    assert document["measured"][0]["loads"][1]["tokens_per_second"] == 300.0


@pytest.mark.slow
def test_a_chart_is_drawn_and_the_same_report_gives_the_same_svg(found: Report, tmp_path: Path) -> None:
    first, second, picture = tmp_path / "a.svg", tmp_path / "b.svg", tmp_path / "c.png"
    for path in (first, second, picture):
        check_chart(path)
        draw(found, path)
    assert first.read_bytes() == second.read_bytes()
    for text in ("openvino int4", "torch bf16", "tokens per second", "16 streams"):
        assert text in first.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "told"), [("chart.pdf", ".svg or a .png"), ("none/chart.svg", "no directory")])
def test_a_chart_that_cannot_be_drawn_is_refused_before_anything_runs(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        check_chart(tmp_path / name)


def test_without_matplotlib_a_chart_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="matplotlib") as caught:
        check_chart(tmp_path / "chart.svg")
    assert ".[bench]" in caught.value.remedy


def test_memory_is_that_of_the_whole_family_and_of_its_largest(tmp_path: Path) -> None:
    for pid, parent, name, peak in (
        (1, 0, "init", 9),
        (10, 1, "stoker", 2),
        (11, 10, "a (b) c", 7),
        (12, 11, "stub", 4),
    ):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} ({name}) S {parent} 0 0")
        (folder / "status").write_text(f"Name:\t{name}\nVmHWM:\t    {peak} kB\n")
    assert family(10, tmp_path) == [10, 11, 12]
    memory = server_memory(10, 5, tmp_path)
    assert (memory.engine_peak, memory.server_peak, memory.gpu) == (7 * 1024, 13 * 1024, 5)
    assert peak_bytes(tmp_path / "99") == 0


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("12:00 INFO a\nerror: it broke: why\nhint: fix it\n", "it broke: why"),
        ("a\nb\n\n", "b"),
        ("", "it said nothing"),
    ],
)
def test_the_childs_failure_is_told_in_its_own_words(written: str, expected: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(written)
    assert last_words(log) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["--streams", "0"],
        ["--streams", "1,many"],
        ["--rounds", "0"],
        ["--prompt-tokens", "-3"],
        ["--prompt-tokens", "64", "--shared-prefix", "64"],
        ["--shared-prefix", "-1"],
    ],
)
def test_bad_numbers_name_their_flag(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=arguments[-2]):
        workload_from(bench_parser().parse_args(arguments))


def test_a_workload_keeps_the_order_of_its_loads() -> None:
    options = bench_parser().parse_args(["demo", "--streams", "16,1,16", "--shared-prefix", "64,0"])
    workload = workload_from(options)
    assert workload.streams == (16, 1)
    assert workload.shared_prefixes == (64, 0)


def test_cases_with_and_without_guesses_stand_side_by_side() -> None:
    without = measured("openvino", "int8", load(1, 100.0))
    guessing = measured("openvino", "int8", replace(load(1, 150.0), accepted=0.8), speculative="lookup")
    found = report(without, guessing)
    assert found.baseline == "openvino int8"
    assert [(each.speculative, each.tokens_per_second) for each in found.ratios] == [("lookup", 1.5)]
    first, second = [line for line in render(found).splitlines() if line.startswith("openvino int8")][:2]
    assert first.split()[:3] == ["openvino", "int8", "1"]
    assert second.startswith("openvino int8 lookup")
    assert "150.0 (1.50x)" in second
    assert second.endswith("0.80")
    assert "guesses kept" not in render(report(without))
