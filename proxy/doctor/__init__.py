"""What is wrong on this machine, and which models can be served.

Opens a runtime without doors, looks around once and tells.
"""

from __future__ import annotations

import asyncio
import sys

from proxy.config import Loaded
from proxy.doctor.finding import Finding, Grade
from proxy.doctor.machine import examine_machine
from proxy.doctor.surroundings import examine_surroundings, listed_models
from proxy.observability.text import printable

__all__ = ["Finding", "Grade", "examine", "models"]


def models(loaded: Loaded) -> int:
    """Print the models that can be served now; answers 1 when there is none."""
    listed = asyncio.run(listed_models(loaded))
    for model in listed:
        owners = ", ".join(candidate.provider.id for candidate in model.candidates)
        _say(f"{printable(model.id):48} {model.state:12} {owners}")
    if any(model.live for model in listed):
        return 0
    sys.stderr.write("No model can be served; `python -m proxy doctor` says why.\n")
    return 1


def examine(loaded: Loaded) -> int:
    """Print what was looked at; answers 1 when something is wrong."""
    findings = [
        *examine_machine(loaded),
        *asyncio.run(examine_surroundings(loaded)),
    ]
    for finding in findings:
        _say(str(finding))
    wrong = sum(finding.grade is Grade.WRONG for finding in findings)
    odd = sum(finding.grade is Grade.ODD for finding in findings)
    _say(f"\n{wrong or 'Nothing'} wrong, {odd or 'nothing'} odd.")
    return 1 if wrong else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
