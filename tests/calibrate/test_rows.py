"""Raw rows: nothing lost when killed, nothing measured twice, readable by the fit."""

from pathlib import Path

import pytest

from fitcalc.calibrate import tables
from fitcalc.calibrate.bench.rows import COLUMNS, Rows, Sample
from fitcalc.calibrate.tables import read_table
from fitcalc.errors import InvalidValue, TableError

SAMPLE = Sample(median_s=1.5e-3, spread=0.02, repeats=20, replayed=True)


def gemm(m: int) -> dict[str, str | int | float]:
    return {"system": "cpu", "backend": "torch-2", "dtype": "bfloat16", "m": m, "n": 64, "k": 32}


def test_the_fit_reads_what_was_appended(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.append("gemm", gemm(1), SAMPLE)
    rows.append("gemm", gemm(2), SAMPLE)
    table = read_table(tmp_path, "gemm", tables.GEMM)
    assert table.number("m").tolist() == [1.0, 2.0]
    assert table.number("latency_ms").tolist() == [1.5, 1.5]


def test_a_row_that_stands_is_known_to_the_next_run(tmp_path: Path) -> None:
    Rows(tmp_path).append("gemm", gemm(1), SAMPLE)
    again = Rows(tmp_path)
    assert again.stands("gemm", gemm(1))
    assert not again.stands("gemm", gemm(2))


@pytest.mark.parametrize("kept", [5, 60, 150])
def test_a_line_cut_off_is_dropped_and_measured_again(tmp_path: Path, kept: int) -> None:
    Rows(tmp_path).append("gemm", gemm(1), SAMPLE)
    path = tmp_path / "gemm.csv"
    whole = path.read_text()
    path.write_text(whole[:kept])
    again = Rows(tmp_path)
    assert not again.stands("gemm", gemm(1))
    again.append("gemm", gemm(1), SAMPLE)
    assert len(read_table(tmp_path, "gemm", tables.GEMM)) == 1
    assert path.read_text().splitlines()[:2] == whole.splitlines()[:2]


def test_every_table_has_the_columns_that_the_fit_reads() -> None:
    read = {
        "gemm": tables.GEMM,
        "attn_decode": tables.ATTENTION_DECODE,
        "attn_prefill": tables.ATTENTION_PREFILL,
        "moe": tables.MOE,
        "allreduce": tables.COLLECTIVES,
        "elementwise": tables.ELEMENTWISE,
    }
    assert all(set(columns) <= set(COLUMNS[name]) for name, columns in read.items())


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gemm.csv").write_text("m,n\nrows,1\n1,2\n")
    with pytest.raises(InvalidValue, match=r"gemm\.csv"):
        Rows(tmp_path).stands("gemm", gemm(1))


def test_units_alone_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "elementwise.csv").write_text("system,backend,bytes,latency_us\nunit,-,B,us\n")
    with pytest.raises(TableError, match="no rows"):
        read_table(tmp_path, "elementwise", tables.ELEMENTWISE)
