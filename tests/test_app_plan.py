"""The plan's page: every choice can be opened, and goes along."""

from __future__ import annotations

import json
import shlex
import tempfile
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

pytest.importorskip("streamlit", reason="the dashboard needs the extra [app]")

from streamlit.testing.v1 import AppTest

from fitcalc import Traffic, manifests, plan
from fitcalc.answers import Limit
from fitcalc.cli.main import run
from fitcalc.planning.choice import Plan
from fitcalc.report.plan_view import headline

APP = Path(__file__).parent.parent / "app"
HOME = str(APP / "Home.py")
PATIENCE_S = 60
CARDS = ["h100_sxm", "h200_sxm", "l40s"]


def opened(**address: str | list[str]) -> AppTest:
    """Open the plan's page at an address whose keys are the options' names."""
    app = AppTest.from_file(HOME, default_timeout=PATIENCE_S)
    for name, value in {"gpu": CARDS, "quantization": ["fp8"], **address}.items():
        app.query_params[name.replace("_", "-")] = value
    return app.run()


def test_a_runner_up_can_be_opened_and_stands_beside_the_answer() -> None:
    app = opened()
    names = app.selectbox(key="choice").options
    assert len(names) == len(set(names)) > 1
    app = opened(choice=names[1])
    assert not app.exception
    gpus = [metric for metric in app.metric if metric.label == "GPUs"]
    assert int(gpus[1].value) - int(gpus[0].value) == int(gpus[1].delta.split()[0])
    assert app.main.subheader[2].value.startswith(f"{gpus[1].value} x ")


def test_a_choice_that_is_no_more_gives_way_to_the_answer() -> None:
    app = opened(choice="no_such_card TP1 fp8")
    assert not app.exception
    assert app.selectbox(key="choice").index == 0


PRICES = """
checked = 2026-01-01
[[offers]]
gpu = "h100_sxm"
gpus = 8
per_hour = 16.0
terms = "reserved"
months = 12
cloud = "ours"
"""


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"headroom": "0.0"}, "--headroom 0"),
        ({"itl_percentile": "99", "itl": "2000"}, "--itl-percentile 99"),
        ({"terms": "spot", "cloud": "gcp", "gpu": "h100_sxm"}, "--terms spot --cloud gcp"),
        ({"region": "us-east-1", "mean_share": "0.5"}, "--region us-east-1 --mean-share 0.5"),
        ({"spare": "1", "growth": "10%/month", "horizon": "6"}, "--growth 10%/month --horizon 6"),
        ({"confidence": "0.9", "peak_minute": "true"}, "--confidence 0.9 --peak-minute"),
        ({"rates": "day", "qps": "4"}, "--qps 4 --rates day"),
        ({"quantization": [], "min_quality": "0.98", "max_gpus": "64"}, "--min-quality 0.98"),
        ({"kv_cache_dtype": "fp8", "burstiness": "0.5"}, "--kv-cache-dtype fp8"),
        ({"isl": "3000", "osl": "200", "ctx": "", "budget": "123.456789"}, "--budget 123.456789"),
    ],
)
def test_the_lines_to_copy_give_the_same_choice(
    address: dict[str, str | list[str]], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = opened(**{"ctx": "4k", **address})
    assert words in app.code[-2].value
    same_choice(app, capsys)


def same_choice(app: AppTest, capsys: pytest.CaptureFixture[str]) -> None:
    assert not app.exception
    assert not app.error
    assert run([*shlex.split(app.code[-2].value)[1:], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    made: dict[str, Plan] = {}
    exec(app.code[-1].value, made)  # noqa: S102 - our own page's words
    best = made["found"].best
    assert best is not None
    assert told["best"] == best.model_dump(mode="json")
    assert app.main.subheader[0].value.replace("\\$", "$") == headline(best)
    assert app.code[0].value == best.vllm_command


def test_own_prices_are_planned_with_and_named_as_the_visitor_knows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prices.toml").write_text(PRICES, encoding="utf-8")
    app = opened(terms="reserved", ctx="4k", gpu="h100_sxm")
    assert app.error[0].value.startswith("terms = 'reserved'")
    app.file_uploader[0].set_value(("mine.toml", PRICES.encode(), "text/plain")).run()
    assert "--terms reserved --prices prices.toml" in app.code[-2].value
    same_choice(app, capsys)
    told = [one.value for one in (*app.caption, *app.markdown, *app.code)]
    assert any("prices.toml" in words for words in told)
    assert not any(tempfile.gettempdir() in words for words in told)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00\xff", "prices = 'a binary file'"),
        (b"a" * 300_000, "prices = 'a large file'"),
        (b"checked = 2026-01-01", "prices.toml line 1: offers "),
        (b"a = " + b"[" * 50_000, "prices = 'prices.toml'"),
    ],
)
def test_a_file_that_is_no_table_of_prices_is_a_sentence(data: bytes, words: str) -> None:
    app = opened()
    app.file_uploader[0].set_value(("prices.toml", data, "text/plain")).run()
    assert not app.exception
    assert app.error[0].value.startswith(words)


def test_a_link_opens_what_it_sets_and_folds_the_rest() -> None:
    folds = {one.label: one.proto.expanded for one in opened(spare="1").sidebar.expander}
    assert folds["Headroom, growth, failures"]
    assert folds["GPUs and formats"]
    assert not folds["Money"]


def test_an_impossible_question_says_what_came_near_and_what_would_do() -> None:
    app = opened(ttft="100")
    assert not app.exception
    assert app.error[0].value.startswith("Nothing fits. Closest: ")
    assert "**Next nearest**" in {one.value for one in app.markdown}
    would = app.dataframe[0].value.set_index("change")["would do"]
    assert "first token too late" in set(app.dataframe[1].value["because"])
    served = opened(ttft=would["First token within (ms)"].replace(",", ""))
    assert not served.error


def test_what_would_do_also_survives_what_was_asked() -> None:
    alone = opened(max_gpus="1", qps="1", gpu="h100_sxm")
    sure = opened(max_gpus="1", qps="1", gpu="h100_sxm", spare="1", growth="10%/month", horizon="6")
    assert not sure.exception
    few, more = (
        int(app.dataframe[0].value.set_index("change")["would do"]["Most GPUs"])
        for app in (alone, sure)
    )
    assert more > few


def test_a_hosted_api_stands_beside_the_answer() -> None:
    app = opened(gpu="h100_sxm", ctx="4k")
    shown = next(one for one in app.metric if one.label == "Hosted API, USD/h")
    rows = next(one.value for one in app.dataframe if "host" in one.value)
    assert float(shown.value.replace("\\$", "")) == pytest.approx(
        rows["USD an hour"].iloc[0], abs=0.01
    )
    assert rows["USD an hour"].is_monotonic_increasing


def test_reserves_and_the_day_are_explained() -> None:
    app = opened(gpu="h100_sxm", ctx="4k", spare="2", rates="day", qps="6")
    heads = [one.value for one in app.main.subheader]
    assert {"Why so many servers", "Over the day"} <= set(heads)
    reasons = app.dataframe[0].value.set_index("why so many servers")["servers"]
    assert reasons["+ spare"] == "+2"
    assert sum(int(one) for one in reasons[:-1]) == int(reasons["in all"])


@pytest.mark.parametrize("target", ["vllm", "compose", "k8s", "kserve", "skypilot"])
def test_each_target_is_shown_as_it_is_written(target: str) -> None:
    app = opened(gpu="h100_sxm", ctx="4k", **{"as": target})
    made: dict[str, Plan] = {}
    exec(app.code[-1].value, made)  # noqa: S102 - our own page's words
    shown = {one.value for one in app.code}
    files = manifests(made["found"], [target]).files
    assert {text.strip() for text in files.values()} <= shown


def test_a_region_without_an_offer_is_a_sentence() -> None:
    app = opened(cloud="aws", region="eastus")
    assert not app.exception
    assert app.error[0].value.startswith("no region 'eastus'")


def test_the_promise_is_kept_by_every_choice_shown() -> None:
    app = opened(ttft="1500", percentile="90")
    rows = app.dataframe[0].value
    assert (rows["TTFT p90 (ms)"] <= 1500).all()
    assert (rows["USD/h"].dropna().diff().dropna() >= 0).all()


def test_the_front_holds_what_nothing_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(APP)
    from plan_charts import standing  # noqa: PLC0415 - a module of the app

    found = plan("70b", Traffic(isl=3000, osl=500, qps=5), gpus=CARDS)
    rows = standing(found, Limit.E2E)
    for _, one in rows.iterrows():
        faster = rows[(rows["USD/h"] <= one["USD/h"]) & (rows["latency"] < one["latency"])]
        assert one["front"] == faster.empty


def test_manifests_are_packed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(APP)
    from share import zipped  # noqa: PLC0415 - a module of the app

    files = {"serve.sh": "#!/bin/sh\n", "k8s.yaml": "kind: List\n"}
    with ZipFile(BytesIO(zipped(files))) as packed:
        assert {name: packed.read(name).decode() for name in packed.namelist()} == files
