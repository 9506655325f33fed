"""The wheel, installed elsewhere without extras, plans there and holds the dashboard."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_BYTES = 200e6


def test_an_installed_wheel_plans_anywhere(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("fitcalc-*.whl")
    held = zipfile.ZipFile(wheel).namelist()
    tables = ("models_db/aliases.toml", "hardware_db/links.toml", "engines_db/settings.toml")
    for path in (
        "_app/Home.py",
        "_app/.streamlit/config.toml",
        *(f"_data/{table}" for table in tables),
    ):
        assert f"fitcalc/{path}" in held
    assert not [name for name in held if not name.startswith("fitcalc")]

    place = tmp_path / "place"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    pins = str(ROOT / "constraints.txt")
    install = [*pip, "install", "--constraint", pins, "--target", str(packages)]
    subprocess.run([*install, wheel], check=True)
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    assert size <= MOST_BYTES
    assert not (packages / "scipy").exists()

    words = ["plan", "--model", "70b", "--ctx", "8k", "--qps", "20", "--json"]
    done = subprocess.run(
        [place / "bin" / "python", "-I", "-m", "fitcalc", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["best"]["vllm_command"].startswith("vllm serve ")

    asked = subprocess.run(
        [place / "bin" / "python", "-I", "-m", "fitcalc", "dashboard"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 2
    assert "fitcalc[app]" in asked.stderr
