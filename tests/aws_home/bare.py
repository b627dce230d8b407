"""Run by tests as a function runs: the code folder and Python's own modules are all there is, and nothing to write to.

usage: python3.12 -I -S bare.py import CODE MODULE…      prints wall and CPU seconds of a cold import
       python3.12 -I -S bare.py ingest|publish CODE SOURCE WORK
"""

import ctypes
import json
import os
import struct
import sys
import time
from importlib import import_module


def powerless() -> None:
    """Give up every right of root's, for this process and its children, so that a folder's permissions count."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "prctl")
    if libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 0, 0, 0, 0, 0, 0)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def cold(modules: list[str]) -> dict[str, object]:
    wall, cpu = time.perf_counter(), time.process_time()
    for name in modules:
        import_module(name)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "loaded": sorted(sys.modules)}


def at_home(role: str, code: str, source: str, work: str) -> dict[str, object]:
    """One turn of a function. Its home is the local twin, read from the source: that part is in no package."""
    import headrace

    headrace.__path__.append(source)
    from pathlib import Path

    from headrace import config
    from headrace.engine.sandbox import Sandbox
    from headrace.engine.settings import Settings
    from headrace.local.target import LocalTarget

    (pipeline,) = config.load_pipelines(config.read(Path(code))).values()
    target = LocalTarget(Path(work, "root"), project=Path(code))
    home = target.home(pipeline)
    try:
        if role == "publish":
            from headrace.engine.publish import publish

            publish(home)
        else:
            from datetime import timedelta

            from headrace.engine import ingest
            from headrace.engine.reconcile import scan

            scan(home)
            folders = [home.spool, target.root / home.base]
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            with Sandbox(Settings(), writable=folders) as child:
                ingest.ingest(home, child, home.queue.lease(pipeline.name, 100, timedelta(minutes=5)))
        loads = [(load.key, load.state, load.cause) for load in home.ledger.history()]
        files = [str(target.root / file.path) for file in home.ledger.files("data")]
    finally:
        target.close()
    return {"loads": loads, "files": files, "loaded": sorted(sys.modules)}


def main() -> None:
    role, code, *rest = sys.argv[1:]
    sys.path[:] = [code, *(p for p in sys.path if "site-packages" not in p and p != os.path.dirname(__file__))]
    if os.geteuid() == 0:
        powerless()
    told = cold(rest) if role == "import" else at_home(role, code, *rest)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
