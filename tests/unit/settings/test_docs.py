from __future__ import annotations

from pathlib import Path

from stoker.settings import SETTINGS
from stoker.settings.docs import BEGIN, END, main, settings_table

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_holds_exactly_the_generated_table():
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == "\n" + settings_table()


def test_every_setting_has_a_row_of_five_cells():
    rows = settings_table().splitlines()
    assert len(rows) == len(SETTINGS) + 2
    assert {row.count("|") for row in rows} == {6}
    assert all(f"`{setting.variable}`" in row for setting, row in zip(SETTINGS, rows[2:], strict=True))


def test_rewriting_keeps_what_surrounds_the_table(tmp_path):
    page = tmp_path / "settings.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main([str(page)])
    assert page.read_text() == f"before\n{BEGIN}\n{settings_table()}{END}\nafter\n"
