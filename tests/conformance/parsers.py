"""Parse command lines by the engines' own argument parsers: rows of [program, words] on stdin.

Runs in the environment of install.sh and readers.sh; prints a row of complaints, "" for none.
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Callable

from sglang.srt.server_args import ServerArgs
from vllm.benchmarks.serve import add_cli_args, check_goodput_args
from vllm.entrypoints.common.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser


def parsers() -> dict[str, Callable[[list[str]], object]]:
    """Return what parses the words after each program's name."""
    serve = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    bench = FlexibleArgumentParser(prog="vllm bench serve")
    add_cli_args(bench)
    sglang = argparse.ArgumentParser(prog="sglang")
    ServerArgs.add_cli_args(sglang)
    return {
        "vllm": serve.parse_args,
        "bench": lambda words: check_goodput_args(bench.parse_args(words)),
        "sglang": sglang.parse_args,
    }


def complaint(parse: Callable[[list[str]], object], words: list[str]) -> str:
    """Return what a parser says against the words."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            parse(words)
    except SystemExit:
        return said.getvalue()[-500:] or "refused"
    except (ValueError, argparse.ArgumentTypeError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    known = parsers()
    rows = json.load(sys.stdin)
    sys.stdout.write(json.dumps([complaint(known[name], words) for name, words in rows]))
