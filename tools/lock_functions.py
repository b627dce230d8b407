"""Writes what the functions on AWS run on: for an architecture one wheel per package, with its hash. For tools/lock.

usage: tools/lock_functions.py PYLOCK >REQUIREMENTS      (PYLOCK: a pylock.toml for one platform)
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any


def main(pylock: str) -> None:
    print("# The wheels of a function, for Python 3.12 on Linux with glibc 2.28 or newer.")
    print("# Written by tools/lock; do not edit.")
    for package in tomllib.loads(Path(pylock).read_text("utf-8"))["packages"]:
        wheel = max(package.get("wheels", ()), key=preference, default=None)
        if wheel is None:
            raise SystemExit(f"lock_functions: {package['name']} {package['version']} has no wheel for the functions")
        print(f"{package['name']}=={package['version']} --hash=sha256:{wheel['hashes']['sha256']}")


def preference(wheel: dict[str, Any]) -> tuple[bool, bool, str]:
    """pip's own order: made for this Python before any Python 3, for this platform before any platform."""
    name = wheel["url"].rsplit("/", 1)[-1]
    return "-cp312-cp312-" in name, not name.endswith("-none-any.whl"), name


if __name__ == "__main__":
    main(sys.argv[1])
