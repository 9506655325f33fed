"""A verdict in the formats that CI systems read: JUnit XML, SARIF, GitHub's workflow commands."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # written, never read
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import PurePath

from fitcalc.planning.check import Check
from fitcalc.planning.check_file import LOCK_RULE, FileCheck, Finding

_SARIF = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_HELP = "https://pypi.org/project/fitcalc/"


def junit(found: Iterable[FileCheck]) -> str:
    """Return JUnit XML: a suite for each file, a case for each scenario.

    Format: the Surefire report of Maven, which CI systems read
    (https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd).
    """
    top = ET.Element("testsuites", name="fitcalc")
    for file in found:
        failed = {one.scenario for one in file.findings}
        suite = ET.SubElement(
            top,
            "testsuite",
            name=file.file,
            tests=str(len(file.scenarios)),
            failures=str(sum(one.name in failed for one in file.scenarios)),
            errors="0",
            skipped="0",
            time="0",
        )
        for one in file.scenarios:
            _case(suite, file, one)
    ET.indent(top)
    return ET.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, file: FileCheck, one: Check) -> None:
    case = ET.SubElement(suite, "testcase", classname=file.file, name=one.name, time="0")
    mine = [finding for finding in file.findings if finding.scenario == one.name]
    if mine:
        failure = ET.SubElement(case, "failure", type=mine[0].rule, message=mine[0].said)
        failure.text = "\n".join(finding.said for finding in mine)
    ET.SubElement(case, "system-out").text = one.markdown()


def sarif(found: Iterable[FileCheck]) -> dict[str, object]:
    """Return a SARIF 2.1.0 log: a result for each finding, on its line."""
    files = list(found)
    results = [_result(file, one) for file in files for one in file.findings]
    rules = sorted({one.rule for file in files for one in file.findings})
    driver = {
        "name": "fitcalc",
        "version": version("fitcalc"),
        "informationUri": _HELP,
        "rules": [{"id": rule, "shortDescription": {"text": _about(rule)}} for rule in rules],
    }
    return {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def commands(found: FileCheck) -> list[str]:
    """Return GitHub workflow commands that show each finding on its line.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    return [annotation(found.file, one.line, one.rule, one.said) for one in found.findings]


def annotation(file: str, line: int, title: str, said: str) -> str:
    r"""Return the workflow command of one mistake.

    Examples:
        >>> annotation("a,b.toml", 3, "ttft", "50 %\nlate")
        '::error file=a%2Cb.toml,line=3,title=fitcalc%3A ttft::50 %25%0Alate'
    """
    cells = f"file={_cell(file)},line={line},title={_cell(f'fitcalc: {title}')}"
    return f"::error {cells}::{_data(said)}"


def _result(file: FileCheck, one: Finding) -> dict[str, object]:
    path = PurePath(file.file)
    return {
        "ruleId": one.rule,
        "level": "error",
        "message": {"text": one.said},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {
                        "uri": path.as_uri() if path.is_absolute() else path.as_posix()
                    },
                    "region": {"startLine": one.line},
                }
            }
        ],
    }


def _about(rule: str) -> str:
    if rule == LOCK_RULE:
        return "A locked answer changed."
    return f"A scenario misses its limit: {rule}."


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _cell(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
