"""How a shell reads a script that fitcalc wrote."""

from __future__ import annotations

import subprocess


def command(script: str) -> list[str]:
    """Return the words of a script's last command, as a shell splits them."""
    body = script.partition("set -eu\n")[2].removeprefix("exec ") or script
    done = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s\\0' {body}"], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]
