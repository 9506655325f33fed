"""The shipped JSON schema says what the reader of scenario files says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from fitcalc.errors import FitcalcError
from fitcalc.inputs.scenario_file import read_scenarios
from fitcalc.inputs.scenario_schema import schema, schema_text, shipped_schema

GOOD = """
model = "70b"
traffic = { qps = "1M/day", ctx = "8k", burstiness = 0.5 }
slo = { ttft_ms = "2s", percentile = 99 }
[engine]
max_model_len = "8k"
kv_cache_memory_bytes = "24GiB"
[scenario.a.plan]
gpus = ["h100"]
budget_usd_per_hour = 100
[scenario.b]
traffic = { isl = { kind = "lognormal", average = 900, cv = 1.2 }, osl = 100 }
deployment = { gpu = "h100", replicas = 4 }
"""


def test_the_shipped_schema_is_what_the_types_say() -> None:
    said = "run `make snapshot`: it writes fitcalc/inputs/fitcalc.schema.json"
    assert shipped_schema() == schema_text(), said


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("1M/day", "20"),
        ('"1M/day"', "true"),
        ('ctx = "8k"', "isl = 4, osl = 5"),
        ("burstiness", "burstyness"),
        ('"2s"', "-2"),
        ("percentile = 99", "percentile = 100"),
        ('"8k"\nkv', '"8 parsecs"\nkv'),
        ('["h100"]', "3"),
        ("[scenario.a.plan]", "[scenario.a.plans]"),
        ("budget_usd_per_hour = 100", "budget_usd_per_hour = 0"),
        ("replicas = 4", "replicas = 0"),
        ('kind = "lognormal"', 'kind = "normal"'),
        ('gpu = "h100", ', ""),
    ],
)
def test_schema_and_reader_agree(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
    path = tmp_path / "fitcalc.toml"
    path.write_text(text, encoding="utf-8")
    valid = jsonschema.Draft7Validator(schema()).is_valid(tomllib.loads(text))
    try:
        read_scenarios(path)
    except FitcalcError:
        read = False
    else:
        read = True
    shared_with_others = old == 'gpu = "h100", '  # only the whole file tells what is missing
    assert valid == read or shared_with_others
    assert read == (new == old or new in {"20", "isl = 4, osl = 5"})
