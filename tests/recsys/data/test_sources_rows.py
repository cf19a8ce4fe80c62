import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.sources import rows
from recsys.exceptions import SourceLayoutError


def _read(path: Path, n_columns: int = 3) -> tuple[list[tuple[int, ...]], list[tuple[int, str]]]:
    """Good rows with their lines, and refused lines with their reasons."""
    good, refused = [], []
    for batch in rows.read_batches(path, n_columns):
        good += [(line, *fields) for line, fields in zip(batch.lines, zip(*batch.columns, strict=True), strict=True)]
        refused += [(row.line, row.reason) for row in batch.refused]
    return good, refused


def _write(folder: Path, content: str | bytes) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_broken_rows_are_refused_with_their_line_and_the_others_survive(tmp_path: Path) -> None:
    path = _write(tmp_path, 'a,b,c\n1,2,3\n1,2\n\n1,2,3,4\n"1","2","3"\n1,"2,3\n4,5,6\n7,8')
    good, refused = _read(path)
    assert good == [(2, "1", "2", "3"), (6, "1", "2", "3"), (8, "4", "5", "6")]
    assert refused == [
        (3, rows.WRONG_FIELDS),
        (5, rows.WRONG_FIELDS),
        (7, rows.BROKEN_QUOTES),
        (9, rows.WRONG_FIELDS),
    ]


def test_a_field_may_span_lines_and_lines_are_counted_on(tmp_path: Path) -> None:
    path = _write(tmp_path, 'a,b,c\r\n1,"two\nlines, ""quoted""",3\r\n4,5\r\n')
    assert _read(path) == ([(2, "1", 'two\nlines, "quoted"', "3")], [(4, rows.WRONG_FIELDS)])


def test_an_unclosed_quote_does_not_swallow_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path, 'a,b,c\n0,"oops,0\n' + "1,2,3\n" * 500)
    good, refused = _read(path)
    assert len(good) == 500
    assert refused == [(2, rows.BROKEN_QUOTES)]


def test_foreign_bytes_and_nul_are_refused_and_storable(tmp_path: Path) -> None:
    path = _write(tmp_path, b"a,b,c\n1,caf\x81,3\n1,\x00,3\n1,caf\xc3\xa9,3\n")
    batch = next(iter(rows.read_batches(path, 3)))
    assert list(batch.columns[1]) == ["café"]
    assert [(row.line, row.reason) for row in batch.refused] == [(2, rows.NOT_UTF8), (3, rows.NUL_CHARACTER)]
    for row in batch.refused:
        assert "\0" not in row.content
        row.content.encode()


def test_rows_in_windows_1252_are_decoded_and_noted(tmp_path: Path) -> None:
    rest = "1,カフェ,3\n".encode()
    path = _write(tmp_path, b"a,b,c\n1,caf\xe9 \x93x\x94,3\n" + rest + b'"2","na\xefve\nline",3\n1,2\xe9\n')
    batch = next(iter(rows.read_batches(path, 3)))
    assert list(batch.columns[1]) == ["café “x”", "カフェ", "naïve\nline"]
    assert batch.notes == {rows.DECODED_CP1252: 2}
    assert [(row.line, row.reason) for row in batch.refused] == [(6, rows.WRONG_FIELDS)]


def test_utf8_with_a_broken_byte_is_not_taken_for_windows_1252(tmp_path: Path) -> None:
    path = _write(tmp_path, b"a,b,c\n1," + "カフェ".encode()[:-1] + b",3\n")
    assert _read(path) == ([], [(2, rows.NOT_UTF8)])


def test_notes_belong_to_their_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH_ROWS", 2)
    path = _write(tmp_path, b"a,b,c\n" + b"1,\xe9,3\n" * 5)
    assert [batch.notes[rows.DECODED_CP1252] for batch in rows.read_batches(path, 3)] == [2, 2, 1]


def test_gzip_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    text = "a,b,c\n1,x,7\n2,,8\n"
    plain = _write(tmp_path, text)
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    columns = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table({"a": [1, 2], "b": ["x", None], "c": [7.0, 8.0]}), columns)
    assert _read(packed) == _read(plain)
    assert [(a, b, float(c)) for _, a, b, c in _read(columns)[0]] == [("1", "x", 7.0), ("2", "", 8.0)]
    assert rows.read_header(packed) == rows.read_header(columns) == ["a", "b", "c"]


def test_a_list_column_of_parquet_reads_like_a_csv_field(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table({"a": [["Action", "Drama"], None], "b": ["x\0y", "z"]}), path)
    good, refused = _read(path, 2)
    assert good == [(2, "", "z")]
    assert refused == [(1, rows.NUL_CHARACTER)]
    assert next(iter(rows.read_batches(path, 2))).refused[0].content == "Action, Drama,x\ufffdy"


@pytest.mark.parametrize("content", [b"", b"\n", b"\x89PNG\r\n\x1a\n\x00\x00", b"caf\xe9,b\n1,2\n", b'"a,b\n'])
def test_what_is_no_text_table_has_no_header(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceLayoutError, match=r"rows\.csv"):
        rows.read_header(_write(tmp_path, content))


def test_compressed_files_that_are_cut_short_are_refused_whole(tmp_path: Path) -> None:
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(b"a,b,c\n" + b"1,2,3\n" * 10_000)[:-40])
    columns = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table({"a": range(1000)}), columns)
    columns.write_bytes(columns.read_bytes()[:-20])
    with pytest.raises(SourceLayoutError, match="no whole gzip file"):
        _read(packed)
    with pytest.raises(SourceLayoutError, match="no whole Parquet file"):
        rows.read_header(columns)
    packed.write_bytes(b"a,b,c\n")
    with pytest.raises(SourceLayoutError, match="no whole gzip file"):
        rows.read_header(packed)


def test_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH_ROWS", 10)
    batches = list(rows.read_batches(_write(tmp_path, "a,b,c\n" + "1,2,3\n1,2\n" * 12), 3))
    assert [len(batch.lines) + len(batch.refused) for batch in batches] == [10, 10, 4]
    assert batches[-1].share_read == 1.0


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(deadline=None)
@given(table=st.lists(st.lists(_TEXT, min_size=3, max_size=3), max_size=8))
def test_whatever_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]
) -> None:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *table])
    good, refused = _read(_write(tmp_path_factory.mktemp("csv"), content.getvalue()))
    assert [list(row[1:]) for row in good] == table
    assert refused == []


@settings(deadline=None)
@given(junk=st.lists(st.text(st.characters(codec="ascii", exclude_characters='",\n\r\0'), min_size=1, max_size=5)))
def test_every_line_of_junk_is_accounted_for(tmp_path_factory: pytest.TempPathFactory, junk: list[str]) -> None:
    lines = [line for text in junk for line in (text, "1,2,3")]
    good, refused = _read(_write(tmp_path_factory.mktemp("csv"), "\n".join(["a,b,c", *lines])))
    assert len(good) == len(junk)
    assert len(refused) == sum(not text.isspace() for text in junk)
