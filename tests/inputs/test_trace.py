"""Traces: the published files as their README counts them, and every mistake in one sentence."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcalc.errors import InvalidValue
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic

SHARED = Path(os.environ.get("FITCALC_SHARED", Path(__file__).parents[3] / "shared"))
PLAIN = "arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("name", "count", "qps", "isl", "osl", "hashed"),
    [  # the statistics that stand beside the files
        ("azure_llm_2023_conv", 19_366, 5.53, 1155, 211, False),
        ("azure_llm_2023_code", 8_819, 2.57, 2048, 28, False),
        ("mooncake_conversation", 12_031, 3.40, 12035, 343, True),
        ("mooncake_synthetic", 3_993, 3.91, 15325, 149, True),
    ],
)
def test_published_traces(
    name: str, count: int, qps: float, isl: int, osl: int, *, hashed: bool
) -> None:
    path = SHARED / "traces" / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} beside the checkout")
    trace = Trace.read(path)
    assert len(trace) == count
    assert trace.qps == pytest.approx(qps, rel=2e-3)
    assert trace.isl.mean() == pytest.approx(isl, abs=0.51)
    assert trace.osl.mean() == pytest.approx(osl, abs=0.51)
    assert (trace.hash_ids is not None) == hashed


def test_the_three_schemas_say_the_same(tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_text(PLAIN + "0,10,2\n1.5,20,3\n")
    azure = tmp_path / "azure.csv"
    azure.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,10,2\n2023-11-16 18:15:48.1805900,20,3\n"
    )
    zoned = tmp_path / "zoned.csv"
    zoned.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-05-10 00:00:00.009930+00:00,10,2\n2024-05-10 00:00:01.509930+00:00,20,3\n"
    )
    mooncake = tmp_path / "mooncake.jsonl.gz"
    with gzip.open(mooncake, "wt") as file:
        file.write('{"timestamp": 3000, "input_length": 10, "output_length": 2, "hash_ids": [7]}\n')
        file.write('{"timestamp": 4500, "input_length": 20, "output_length": 3, "hash_ids": []}\n')
    for path in (plain, azure, zoned, mooncake):
        trace = Trace.read(path)
        np.testing.assert_allclose(trace.arrival_s, [0.0, 1.5], atol=1e-6)
        assert trace.isl.tolist() == [10, 20]
        assert trace.osl.tolist() == [2, 3]
    assert Trace.read(mooncake).hash_ids == ((7,), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN, "at least one request"),
        (PLAIN + "0,10,2\n1,ten,2\n", "t.csv row 3 column input_tokens = 'ten'"),
        (PLAIN + "0,10,0\n", "t.csv row 2 column output_tokens = '0'"),
        (PLAIN + "0,10\n", "t.csv row 2 = '2 fields'"),
        (PLAIN + "0,10,2\n0,1,000,2\n", "t.csv row 3 = '4 fields'"),
        (PLAIN + "0,10,2\n-1,10,2\n", "t.csv row 3 column arrival_s = '-1'"),
        (PLAIN + "5,10,2\n\n4,10,2\n", "t.csv row 4 column arrival_s = '4'"),
        (PLAIN + "5,10,2\n6," + "1" * 2_000_000, "t.csv row 3"),
        (PLAIN + '5,"10,2\n' + "6,7,8\n" * 50_000, "field larger than field limit"),
        (PLAIN.strip() + ",priority\n0,1,1,0\n1,1,1,high\n", "row 3 column priority = 'high'"),
        (PLAIN.strip() + ",hash_ids\n0,1,1,-3\n", "row 2 column hash_ids = '-3'"),
        ("", "at least one request"),
        (PLAIN + "0,1e400,2\n", "t.csv row 2 column input_tokens"),
        (PLAIN + "0,2.5,2\n", "whole number of tokens"),
        (PLAIN + "nan,10,2\n", "t.csv row 2 column arrival_s = 'nan'"),
        ("when,input,output\n1,2,3\n", "arrival_s, input_tokens, output_tokens"),
    ],
)
def test_mistakes_name_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InvalidValue) as error:
        Trace.read(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.csv", None),
        ("t.parquet", b"PAR1"),
        ("t.csv.gz", b"not gzip"),
        ("t.csv", b"\xff\xfe\x00"),
        ("t.jsonl", b"[1, 2]\n"),
        ("t.jsonl", b"{\n"),
        ("t.jsonl", b"[" * 100_000 + b"\n"),
        ("t.jsonl", b'{"timestamp": ' + b"9" * 5000 + b"}\n"),
        ("t.csv", gzip.compress(PLAIN.encode() + b"0,1,1\n", mtime=0)),
        ("t.csv.gz", gzip.compress(PLAIN.encode() + b"0,1,1\n" * 99, mtime=0)[:-12]),
        ("t.csv.gz", gzip.compress(PLAIN.encode() + b"0,1,1\n" * 99, mtime=0)[:30] + bytes(50)),
        ("t.csv", bytes(range(256)) * 9),
        ("t.jsonl", b'{"timestamp": 1, "input_length": 5, "output_length": {}}\n'),
    ],
)
def test_unreadable_files_are_one_sentence(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidValue) as error:
        Trace.read(path)
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


def test_a_folder_is_no_trace(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(InvalidValue, match="directory"):
        Trace.read(tmp_path / "t.csv")


def test_bad_rows_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(PLAIN + "3,10,2\n2,10,2\n4,0,2\n4,10\n-1,9,9\nx,9,9\n5,20,3\n")
    trace = Trace.read(path, skip_bad=True)
    assert (trace.isl.tolist(), trace.skipped) == ([10, 20], 5)
    lines = tmp_path / "t.jsonl"
    good = '{"arrival_s": 1, "input_tokens": 5, "output_tokens": 5}\n'
    lines.write_text(f"oops\n{good}[1]\n{good}")
    trace = Trace.read(lines, skip_bad=True)
    assert (len(trace), trace.skipped) == (2, 2)


def test_arrivals_follow_rate_and_burstiness() -> None:
    lengths = {"isl": Lengths.uniform(80, 100), "osl": 7}
    for burstiness in (0.5, 1.0, 4.0):
        traffic = Traffic(qps=5, burstiness=burstiness, num_requests=40_000, **lengths)
        trace = Trace.from_traffic(traffic, seed=3)
        gaps = np.diff(trace.arrival_s)
        assert gaps.mean() == pytest.approx(0.2, rel=0.03)
        # a Gamma law of this shape has a coefficient of variation of 1/sqrt(shape)
        assert gaps.std() / gaps.mean() == pytest.approx(burstiness**-0.5, rel=0.03)
        assert (trace.isl.min(), trace.isl.max(), trace.osl.max()) == (80, 100, 7)


def test_another_rate_keeps_the_lengths() -> None:
    slow = Traffic(qps=1, isl=Lengths.lognormal(500, 1.0), osl=Lengths.lognormal(99, 0.5))
    a = Trace.from_traffic(slow, seed=1, num_requests=50)
    b = Trace.from_traffic(slow.replace(qps=2), seed=1, num_requests=50)
    assert (a.isl == b.isl).all()
    assert (a.osl == b.osl).all()
    np.testing.assert_allclose(a.arrival_s, 2 * b.arrival_s)
    other = Trace.from_traffic(slow, seed=2, num_requests=50)
    assert (a.isl != other.isl).any()


def test_a_closed_loop_starts_at_once() -> None:
    traffic = Traffic(concurrency=4, num_requests=9, isl=5, osl=5)
    assert Trace.from_traffic(traffic).arrival_s.tolist() == [0.0] * 9
    with pytest.raises(InvalidValue, match="num_requests"):
        Trace.from_traffic(Traffic(qps=1, isl=5, osl=5))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_lengths_of_a_trace_keep_its_moments(values: list[int]) -> None:
    tokens = np.array(values)
    isl, osl = Trace(np.zeros(len(values)), tokens, tokens).lengths()
    assert isl == osl
    assert isl.mean == pytest.approx(tokens.mean())
    assert isl.second_moment == pytest.approx((tokens**2).mean())


def test_arrays_must_agree() -> None:
    one, two = np.ones(1, dtype=np.int64), np.ones(2, dtype=np.int64)
    for times, isl, osl in (
        (np.zeros(0), one[:0], one[:0]),
        (np.zeros(1), one, two),
        (np.array([1.0, 0.0]), two, two),
        (np.array([np.nan]), one, one),
        (np.zeros(1), one - 1, one),
    ):
        with pytest.raises(InvalidValue):
            Trace(times, isl, osl)
