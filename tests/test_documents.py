"""The workbook and the page of a text: what they hold, and that nobody's text does anything."""

import json
import logging
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import polars as pl
import pytest
from circuit_tables import circuit_tables

from tokentrails.documents import page as page_module
from tokentrails.documents import sheets as sheets_module
from tokentrails.documents import workbook as workbook_module
from tokentrails.documents.page import write_page
from tokentrails.documents.sheet import HIGH_BIAS, Column, Sheet
from tokentrails.documents.sheets import MAIN, text_sheets
from tokentrails.documents.workbook import write_workbook

NAMES = [
    *("Patterns", "Messages", "All together", "FFN", "Token evolution", "Predictions"),
    *("Attribution", "About"),
]
EVIL = "</script><script>alert(1)</script> & <b>=1+1</b> \u2028"
SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def made(tables: Mapping[str, pl.DataFrame], most: int = 10**6) -> dict[str, Sheet]:
    (sheets,) = text_sheets(tables, "made", limits=[most], about={"model": "nano", "text": EVIL})
    return {sheet.name: sheet for sheet in sheets}


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return circuit_tables()


@pytest.fixture(scope="module")
def sheets(tables) -> dict[str, Sheet]:
    return made(tables)


# --- sheets -----------------------------------------------------------------------------------


def test_every_table_gives_its_sheets(sheets):
    assert list(sheets) == NAMES


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ({"heads", "attention"}, NAMES[3:]),
        ({"neurons", "activations"}, [n for n in NAMES if n != "FFN"]),
        ({"evolution", "predictions"}, [*NAMES[:4], *NAMES[6:]]),
        ({"attribution"}, [*NAMES[:6], "About"]),
    ],
)
def test_what_was_not_asked_for_has_no_sheet(tables, missing, left):
    kept = {name: table for name, table in tables.items() if name not in missing}
    assert list(made(kept)) == left


def test_other_texts_are_left_out(tables, sheets):
    other = circuit_tables(tokens=3, layers=1, heads=1, label="other") | {"neurons": pl.DataFrame()}
    both = {
        name: pl.concat([other[name], table]) if len(other[name]) else table
        for name, table in tables.items()
    }
    for name, sheet in made(both).items():
        assert sheet.frame.equals(sheets[name].frame), name


def test_every_pair_has_the_keys_pattern_and_message(tables, sheets):
    main = sheets["All together"].frame
    places = main.select("Layer", "Head", "Query", "Key").rows()
    assert places == sorted(places)
    assert len(places) == len(set(places)) == len(tables["attention"]) == 4 * 3 * 8 * 9 / 2

    attention = tables["attention"].filter(layer=2, head=1, query=7, key=4)
    (row,) = main.filter(Layer=2, Head=1, Query=7, Key=4).rows(named=True)
    assert row["Attention weight"] == pytest.approx(attention["weight"][0], rel=1e-6)
    assert (row["Query token"], row["Key token"]) == ("hit", "ball")
    about = tables["heads"].filter(layer=2, head=1, position=4)
    for name, kind in (
        ("Key pattern", {"kind": "pattern", "side": "key"}),
        ("Message, embedding", {"kind": "message", "space": "embedding"}),
        ("Message, unembedding", {"kind": "message", "space": "unembedding"}),
    ):
        (listed,) = about.filter(**kind).rows(named=True)
        words = ", ".join(sheets_module.readable(word) for word in listed["top"])
        assert row[name] == (f"{HIGH_BIAS} {words}" if listed["high_bias"] else words)
        cosine = "Key cosine" if name == "Key pattern" else name.replace("Message", "Cosine")
        assert row[cosine] == pytest.approx(listed["top_cosine"][0], rel=1e-6)


def test_patterns_have_their_sides_and_messages_their_spaces_in_one_row(tables, sheets):
    patterns, messages = sheets["Patterns"].frame, sheets["Messages"].frame
    assert len(patterns) == len(messages) == 4 * 3 * 8
    for frame, kind, by, names in (
        (patterns, "pattern", "side", {"query": "Query norm", "key": "Key norm"}),
        (messages, "message", "space", {"embedding": "Norm"}),
    ):
        (row,) = frame.filter(Layer=3, Head=0, Position=5).rows(named=True)
        for value, name in names.items():
            listed = tables["heads"].filter(layer=3, head=0, position=5, kind=kind)
            assert row[name] == pytest.approx(listed.filter(pl.col(by) == value)["norm"][0])


def test_a_token_has_its_strongest_neurons_first_and_their_words(tables, sheets):
    ffn = sheets["FFN"].frame
    assert len(ffn) == len(tables["activations"])
    for _, group in ffn.group_by("Position", "Layer"):
        assert group["Contribution"].to_list() == sorted(group["Contribution"], reverse=True)
    row = ffn.row(17, named=True)
    neuron = tables["neurons"].filter(layer=row["Layer"], neuron=row["Neuron"])
    for name, role in (("In", "in"), ("Gate", "gate"), ("Out, embedding", "out")):
        cosine = neuron.filter(role=role)["top_cosine"][0][0]
        assert row[f"{name}: cosine"] == pytest.approx(cosine, rel=1e-6)


def test_layers_and_heads_that_were_not_looked_at_have_empty_cells(tables, tmp_path):
    main = made(tables | {"heads": tables["heads"].filter(layer=0, head=2)})[MAIN]
    looked_at = (pl.col("Layer") == 0) & (pl.col("Head") == 2)
    assert len(main.frame) == 432
    for name in ("Key pattern", "Key cosine", "Message, embedding", "Cosine, unembedding"):
        assert main.frame.filter(looked_at)[name].null_count() == 0
        assert main.frame.filter(~looked_at)[name].null_count() == 432 - 36
    write_workbook([main], tmp_path / "a.xlsx", title="a", first=MAIN)
    assert {len(row) for row in Book(tmp_path / "a.xlsx").rows(MAIN)} == {7, 13}
    write_page([main], tmp_path / "a.html", title="a", text="", first=MAIN)
    columns = data_of((tmp_path / "a.html").read_text(encoding="utf-8"))["sheets"][0]["columns"]
    (pattern,) = [column for column in columns if column["name"] == "Key pattern"]
    assert pattern["values"].count(-1) == 432 - 36


def test_an_mlp_without_gates_and_a_model_without_unembedding_lack_those_columns(tables):
    heads, neurons = tables["heads"], tables["neurons"]
    without = pl.col("space") != "unembedding"
    changed = tables | {
        "heads": heads.filter(without),
        "neurons": neurons.filter(without & (pl.col("role") != "gate")),
    }
    sheets = made(changed)
    for name in ("Messages", "All together", "FFN"):
        assert not [column for column in sheets[name].frame.columns if "unembedding" in column]
    assert "Gate" not in sheets["FFN"].frame.columns and "In" in sheets["FFN"].frame.columns


def test_evolution_is_a_grid_with_the_prediction_last(tables, sheets):
    grid = sheets["Token evolution"].frame
    assert grid["Space"].to_list() == ["embedding"] * 5 + ["unembedding"] * 5 + ["predicted"]
    assert grid["Layer"].to_list() == [0, 1, 2, 3, 4] * 2 + [4]
    shown = [column.name for column in sheets["Token evolution"].columns]
    assert shown[:4] == ["Space", "Layer", "0 <|endoftext|>", "1 The"] and len(shown) == 10
    (listed,) = tables["evolution"].filter(position=7, predicted=True).rows(named=True)
    assert grid["shade of 7"][-1] == pytest.approx(listed["top_score"][0], rel=1e-6)
    words = [sheets_module.shorten(sheets_module.readable(w), 60) for w in listed["top"]]
    assert grid["7 hit"][-1] == ", ".join(words)


def test_a_wide_grid_goes_on_in_another_sheet(tables, monkeypatch):
    monkeypatch.setattr(sheets_module, "_WIDEST_GRID", 5)
    grids = made({"evolution": tables["evolution"]})
    assert list(grids) == ["Token evolution 1", "Token evolution 2", "About"]
    assert [column.name for column in grids["Token evolution 2"].columns][2:] == [
        "5 日",
        "6 😀",
        "7 hit",
    ]


@pytest.mark.parametrize("most", [1, 40, 100, 431])
def test_too_many_pairs_are_cut_at_a_stated_weight(tables, most, caplog):
    with caplog.at_level(logging.INFO):
        sheets = made(tables, most)
    sheet = sheets[MAIN]
    (name,) = [column.name for column in sheet.columns if column.name.startswith("Attention")]
    bound = float(re.fullmatch(r"Attention weight \(only above (.+)\)", name)[1])
    weights = tables["attention"]["weight"].round_sig_figs(7)
    assert sheet.frame[name].sort().to_list() == pytest.approx(
        weights.filter(weights > bound).sort().to_list()
    )
    # As many as fit at a bound of two digits, and not fewer than that costs.
    assert most / 2 - 20 < len(sheet.frame) <= most
    assert f"{len(sheet.frame)} of 432 pairs" in sheet.note and sheet.note in caplog.text
    assert sheet.note in sheets["About"].frame["Meaning"].to_list()


def test_all_pairs_that_fit_are_there(tables, caplog):
    with caplog.at_level(logging.INFO):
        sheet = made(tables, 432)[MAIN]
    assert len(sheet.frame) == 432 and sheet.note == "" == caplog.text


def test_numbers_that_are_none_are_empty(tables):
    neurons = tables["activations"].with_columns(activation=pl.lit(float("nan")))
    ffn = made(tables | {"activations": neurons})["FFN"]
    assert ffn.frame["Activation"].null_count() == len(ffn.frame)


# --- workbook ---------------------------------------------------------------------------------


class Book:
    """What a workbook's XML says."""

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as archive:
            self.parts = {name: archive.read(name) for name in archive.namelist()}
            self.dates = {info.date_time for info in archive.infolist()}
        names = self.tree("xl/workbook.xml").iter(f"{SPACE}sheet")
        self.names = [sheet.get("name") for sheet in names]
        self.sheets = {
            name: self.tree(f"xl/worksheets/sheet{i}.xml")
            for i, name in enumerate(self.names, start=1)
        }
        formats = self.tree("xl/styles.xml")
        self.formats = formats.find(f"{SPACE}cellXfs")
        self.fonts = formats.find(f"{SPACE}fonts")
        self.codes = {
            f.get("numFmtId"): f.get("formatCode") for f in formats.iter(f"{SPACE}numFmt")
        }

    def tree(self, part: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.parts[part])

    def rows(self, name: str) -> list[list[ElementTree.Element]]:
        return [list(row) for row in self.sheets[name].iter(f"{SPACE}row")]

    def values(self, name: str) -> list[list[str | float]]:
        return [[value_of(cell) for cell in row] for row in self.rows(name)]

    def format_of(self, cell: ElementTree.Element) -> ElementTree.Element:
        return self.formats[int(cell.get("s"))]


def value_of(cell: ElementTree.Element) -> str | float:
    if cell.get("t") == "inlineStr":
        return "".join(t.text or "" for t in cell.iter(f"{SPACE}t"))
    return float(cell.find(f"{SPACE}v").text)


@pytest.fixture(scope="module")
def book(sheets, tmp_path_factory) -> Book:
    path = tmp_path_factory.mktemp("book") / "made.xlsx"
    write_workbook(list(sheets.values()), path, title="made", first=MAIN)
    return Book(path)


def unescaped(text: str) -> str:
    """What Excel shows: _xHHHH_ is the character of that number."""
    return re.sub(r"_x([0-9A-F]{4})_", lambda m: chr(int(m[1], 16)), text)


def test_workbook_holds_every_sheet_whole(book, sheets):
    assert book.names == NAMES
    for name, sheet in sheets.items():
        header, *rows = book.values(name)
        columns = [column.name for column in sheet.columns]
        assert [unescaped(text).rstrip() for text in header] == columns
        assert len(rows) == len(sheet.frame)
        for found, wanted in zip(rows, sheet.frame.select(columns).rows(), strict=True):
            assert [unescaped(v).rstrip() if isinstance(v, str) else v for v in found] == [
                v.rstrip() if isinstance(v, str) else v for v in wanted if v is not None
            ]


def test_workbook_has_no_formula_and_no_link(book):
    texts = [value for name in book.names for row in book.values(name) for value in row]
    assert "=1+1" in texts  # so that there is something to refuse
    for sheet in book.sheets.values():
        assert [tag for tag in ("f", "hyperlink") for _ in sheet.iter(f"{SPACE}{tag}")] == []
        for cell in sheet.iter(f"{SPACE}c"):
            is_header = re.fullmatch("[A-Z]+1", cell.get("r"))
            if cell.get("t") == "inlineStr" and not is_header:
                assert book.format_of(cell).get("quotePrefix") == "1"
    assert not [name for name in book.parts if "external" in name.lower()]
    assert not [p for p in book.parts if p.endswith(".rels") and b"External" in book.parts[p]]


def test_text_that_looks_like_xlsxwriters_markup_stays_text(tmp_path):
    words = ["<r>one, two</r>", "_x0041_", "<t>&amp;</t>", " space ", "", "{=1+1}"]
    frame = pl.DataFrame({"<r>words</r>": words})
    sheet = Sheet("Words", frame, (Column("<r>words</r>", "words"),))
    write_workbook([sheet], tmp_path / "a.xlsx", title="a", first=MAIN)
    found = [row[0] for row in Book(tmp_path / "a.xlsx").values("Words")]
    assert list(map(unescaped, found)) == ["<r>words</r> ", "<r>one, two</r> ", *words[1:]]


def test_header_is_frozen_and_filtered(book, sheets):
    for name, sheet in book.sheets.items():
        (pane,) = sheet.iter(f"{SPACE}pane")
        assert (pane.get("ySplit"), pane.get("state")) == ("1", "frozen")
        assert int(pane.get("xSplit", 0)) == sheets[name].frozen
        (filters,) = sheet.iter(f"{SPACE}autoFilter")
        last = book.rows(name)[0][-1].get("r")[:-1]
        assert filters.get("ref") == f"A1:{last}{len(sheets[name].frame) + 1}"


def test_main_sheet_is_open_first(book):
    (view,) = book.tree("xl/workbook.xml").iter(f"{SPACE}workbookView")
    assert view.get("activeTab") == str(NAMES.index(MAIN))


def test_weights_cosines_and_signed_numbers_have_colour_scales(book, sheets):
    scaled = {
        name: [scale.get("sqref")[0] for scale in sheet.iter(f"{SPACE}conditionalFormatting")]
        for name, sheet in book.sheets.items()
    }
    wanted = {
        name: [chr(65 + i) for i, column in enumerate(sheet.columns) if column.scale]
        for name, sheet in sheets.items()
    }
    assert scaled == wanted
    assert len(scaled["All together"]) == 4 and len(scaled["FFN"]) == 5
    weights = book.sheets["All together"].find(f".//{SPACE}colorScale")
    assert [v.get("val") for v in weights.iter(f"{SPACE}cfvo")] == ["0.0", "1.0"]
    signed = book.sheets["Attribution"].find(f".//{SPACE}colorScale")
    low, middle, high = (float(v.get("val")) for v in signed.iter(f"{SPACE}cfvo"))
    assert middle == 0 and low == -high < 0


def test_high_bias_is_grey(book):
    grey, plain = set(), set()
    for name in ("Patterns", "Messages", "All together", "FFN"):
        for row in book.rows(name)[1:]:
            for cell in row:
                if cell.get("t") == "inlineStr":
                    biased = value_of(cell).startswith(f"{HIGH_BIAS} ")
                    (grey if biased else plain).add(cell.get("s"))
    assert grey and not grey & plain
    for shape in grey:
        font = book.fonts[int(book.formats[int(shape)].get("fontId"))]
        assert font.find(f"{SPACE}color").get("rgb") == "FF6B6B6B"


def test_numbers_are_numbers_with_a_format(book):
    header, first = book.rows("All together")[:2]
    names = [value_of(cell) for cell in header]
    weight = first[names.index("Attention weight")]
    assert value_of(weight) == 1.0
    assert book.codes[book.format_of(weight).get("numFmtId")] == "0.000"
    assert book.format_of(first[0]).get("numFmtId") == "1"  # 0, one of Excel's own


def test_shades_of_the_grid_follow_the_score(book, sheets):
    grid, cells = sheets["Token evolution"].frame, book.rows("Token evolution")[1:]
    fills = book.tree("xl/styles.xml").find(f"{SPACE}fills")
    by_score = sorted(
        (grid[f"shade of {t}"][row], cells[row][2 + t]) for row in range(11) for t in range(8)
    )
    reds = []
    for _, cell in (by_score[0], by_score[44], by_score[-1]):
        fill = fills[int(book.format_of(cell).get("fillId"))]
        reds.append(int(fill.find(f".//{SPACE}fgColor").get("rgb")[2:4], 16))
    assert 255 >= reds[0] > reds[1] > reds[2] >= 0x59


def test_more_rows_than_excel_has_go_on_in_another_sheet(sheets, tmp_path, monkeypatch):
    monkeypatch.setattr(workbook_module, "MOST_ROWS", 40)
    write_workbook([sheets["Patterns"]], tmp_path / "a.xlsx", title="a", first=MAIN)
    split = Book(tmp_path / "a.xlsx")
    assert split.names == ["Patterns", "Patterns 2", "Patterns 3"]
    assert [len(split.rows(name)) for name in split.names] == [41, 41, 17]


def test_limits_are_those_of_excel():
    assert workbook_module.MOST_ROWS == 2**20 - 1
    assert 2 + sheets_module._WIDEST_GRID <= 2**14


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [("x" * 32_767, False), ("x" * 32_768, True), ("😀" * 16_383, False), ("😀" * 16_384, True)],
)
def test_text_too_long_for_a_cell_is_cut_and_says_so(text, is_cut, tmp_path, caplog):
    sheet = Sheet("Long", pl.DataFrame({"words": [text]}), (Column("words", "words"),))
    write_workbook([sheet], tmp_path / "a.xlsx", title="a", first=MAIN)
    found = Book(tmp_path / "a.xlsx").values("Long")[1][0]
    assert len(found.encode("utf-16-le")) <= 2 * 32_767
    assert (found != text) == is_cut == found.endswith("…") == ("is cut" in caplog.text)


def test_an_empty_sheet_is_written(tables, tmp_path):
    empty = {name: table.clear() for name, table in tables.items()}
    sheets = list(made(empty).values())
    write_workbook(sheets, tmp_path / "a.xlsx", title="a", first=MAIN)
    write_page(sheets, tmp_path / "a.html", title="a", text="", first=MAIN)
    assert len(Book(tmp_path / "a.xlsx").rows(MAIN)) == 1


def test_the_same_sheets_give_the_same_bytes(tables, tmp_path, monkeypatch):
    zones, sheets = ("UTC", "Asia/Tokyo"), [list(made(tables).values()) for _ in range(2)]
    for zone, own in zip(zones, sheets, strict=True):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        write_workbook(own, tmp_path / f"{zone[:3]}.xlsx", title="a", first=MAIN)
        write_page(own, tmp_path / f"{zone[:3]}.html", title="a", text="a", first=MAIN)
    monkeypatch.undo()
    time.tzset()
    for suffix in ("xlsx", "html"):
        one, other = ((tmp_path / f"{zone[:3]}.{suffix}").read_bytes() for zone in zones)
        assert one == other
    book = Book(tmp_path / "UTC.xlsx")
    assert b"2000-01-01T00:00:00Z" in book.parts["docProps/core.xml"]
    assert {date[0] for date in book.dates} == {1980}
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".html"] * 2 + [".xlsx"] * 2


# --- page -------------------------------------------------------------------------------------


class Parsed(HTMLParser):
    """The elements of a page, and what is inside them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.inside: dict[str, str] = {}
        self._stack = [""]
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._stack.append(dict(attrs).get("id", tag))

    def handle_data(self, data):
        self.inside[self._stack[-1]] = self.inside.get(self._stack[-1], "") + data


@pytest.fixture(scope="module")
def written(sheets, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "made.html"
    write_page(list(sheets.values()), path, title=f"made {EVIL}", text=EVIL, first=MAIN)
    return path.read_text(encoding="utf-8")


def data_of(text: str) -> dict:
    return json.loads(Parsed(text).inside["data"])


def test_page_is_offline(written):
    assert not re.search(r"https?:|[\"'(]//|@import|url\(", written, re.IGNORECASE)
    tags = Parsed(written).tags
    assert not [attrs for _, attrs in tags if attrs.keys() & {"src", "href", "srcset", "style"}]
    policy = next(a["content"] for _, a in tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_page_runs_nobodys_text(written):
    parsed = Parsed(written)
    assert [tag for tag, _ in parsed.tags].count("script") == 2
    assert not [tag for tag, _ in parsed.tags if tag == "b"]
    assert parsed.inside["text"].rstrip("\n") == EVIL.replace("\u2028", r"\u2028")
    json_part = re.search(r'id="data">(.*?)</script>', written, re.DOTALL)[1]
    assert not set("<>&\u2028") & set(json_part)


def test_control_characters_of_the_text_are_escapes_in_the_page(sheets, tmp_path):
    main = next(iter(sheets.values()))
    write_page([main], tmp_path / "a.html", title="a", text="a\x07\x00\u202eb", first=MAIN)
    assert r"a\x07\x00\u202eb</p>" in (tmp_path / "a.html").read_text()


def test_page_holds_every_sheet_whole(written, sheets):
    shown = data_of(written)
    assert [sheet["name"] for sheet in shown["sheets"]] == NAMES
    assert shown["first"] == NAMES.index(MAIN) and shown["high_bias"] == HIGH_BIAS
    for found in shown["sheets"]:
        sheet = sheets[found["name"]]
        assert (found["rows"], found["note"]) == (len(sheet.frame), sheet.note)
        for column, wanted in zip(found["columns"], sheet.columns, strict=True):
            values = column["values"]
            if "texts" in column:
                values = [column["texts"][code] if code >= 0 else None for code in values]
            assert values == sheet.frame[wanted.name].to_list()


def test_layers_heads_and_tokens_can_be_chosen(written):
    offered = {
        sheet["name"]: [column["name"] for column in sheet["columns"] if column["choices"]]
        for sheet in data_of(written)["sheets"]
    }
    assert offered["Patterns"] == offered["Messages"] == ["Layer", "Head", "Token"]
    assert offered["All together"] == ["Layer", "Head", "Query token", "Key token"]
    assert offered["FFN"] == ["Token", "Layer"]
    assert offered["Token evolution"] == ["Space", "Layer"]


def in_node(expression: str, data: object) -> object:
    """What an expression gives that uses page.js and `data`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run page.js")
    script = Path(page_module.__file__).with_name("page.js").read_text(encoding="utf-8")
    code = f"{script}\nconst data = {json.dumps(data)};\nconsole.log(JSON.stringify({expression}))"
    done = subprocess.run([node, "-"], input=code, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_rows_of_the_page_are_searched_chosen_and_sorted(written, sheets):
    data, frame = data_of(written)["sheets"], sheets["All together"].frame.with_row_index("row")
    names = [column.name for column in sheets["All together"].columns]
    layer, key, weight = map(names.index, ("Layer", "Key token", "Attention weight"))
    ball = data[2]["columns"][key]["texts"].index("ball")
    asked = [
        {"search": "PLAYER  café", "choices": {}},
        {"search": "", "choices": {str(layer): 2, str(key): ball}},
        {"search": "", "choices": {}, "sort": {"column": weight, "down": True}},
        {"search": "hit", "choices": {}, "sort": {"column": weight, "down": False}},
    ]
    found = in_node(f"{json.dumps(asked)}.map((state) => rowsOf(data[2], state))", data)

    texts = [name for name in names if frame[name].dtype == pl.String]
    holds = [
        pl.any_horizontal(pl.col(texts).str.to_lowercase().str.contains(word, literal=True))
        for word in ("player", "café", "hit")
    ]
    assert found[0] == frame.filter(holds[0] & holds[1])["row"].to_list() != []
    assert (
        found[1]
        == frame.filter(pl.col("Layer") == 2, pl.col("Key token") == "ball")["row"].to_list()
    )
    heaviest = frame.sort("Attention weight", descending=True, maintain_order=True)
    assert found[2] == heaviest["row"].to_list()
    lightest = frame.filter(holds[2]).sort("Attention weight", maintain_order=True)
    assert found[3] == lightest["row"].to_list()


def test_cells_of_the_page_are_written_and_coloured(written):
    column = {"values": [0.5, None, -2.0], "digits": 3, "scale": [-2, 2], "shade": None}
    asked = "[0, 1, 2].map((row) => [textOf(data, row), tintOf(data, row)])"
    assert in_node(asked, column) == [
        ["0.500", "rgba(var(--up), 0.163)"],
        ["", ""],
        ["-2.000", "rgba(var(--down), 0.650)"],
    ]
    shaded = {"values": [0, -1], "texts": ["a"], "digits": None, "scale": None, "shade": [1, None]}
    assert in_node(asked.replace(", 2]", "]"), shaded) == [
        ["a", "rgba(var(--up), 0.650)"],
        ["", ""],
    ]


def test_sorting_is_stable_and_puts_empty_cells_last():
    numbers = {"values": [3, None, 1, None, 2, 3]}
    words = {"values": [0, 1, 2, 3, 1, 0], "texts": ["word 10", "", "Word 9", "<b>"]}
    sheet = {"rows": 6, "columns": [numbers, words]}
    asked = [{"column": column, "down": down} for column in (0, 1) for down in (False, True)]
    states = [{"search": "", "choices": {}, "sort": sort} for sort in asked]
    assert in_node(f"{json.dumps(states)}.map((state) => rowsOf(data, state))", sheet) == [
        [2, 4, 0, 5, 1, 3],
        [0, 5, 4, 2, 1, 3],
        [3, 2, 0, 5, 1, 4],
        [0, 5, 2, 3, 1, 4],
    ]
