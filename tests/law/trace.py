"""What a trace of system calls says about a power loss: what was on the disk when something referred to it.

Reads `strace -f -y` of a run. A file is safe when it was synced after its last write; a name is safe when its folder
was synced after the name came there. Nothing else is believed: not that a journal keeps order, not that a sync of one
file carries another. Only for `test_power_loss.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

CALLS = (
    "openat,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,ftruncate,fallocate,"
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat"
)
WRITES = {"write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate"}
COPIES = {"sendfile": 0, "copy_file_range": 2}
"""Calls that write a file behind the others' back, with the argument that names it."""
MARK = "/mark"
"""The file to which the driver says what it is about to refer to."""

LINE = re.compile(r"^(?P<pid>\d+) +(?P<text>.*)$")
BEGUN = re.compile(r"^(?P<call>\w+)\((?P<args>.*) <unfinished \.\.\.>$")
ENDED = re.compile(r"^<\.\.\. (?P<call>\w+) resumed>(?P<args>.*)\) += (?P<result>.*)$")
WHOLE = re.compile(r"^(?P<call>\w+)\((?P<args>.*)\) += (?P<result>.*)$")
PLACE = re.compile(r"^-?\w+<(?P<path>[^>]*)>")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Call:
    """One finished call: `begun` and `ended` are its places in the trace."""

    pid: int
    name: str
    args: str
    result: str
    begun: int
    ended: int

    @property
    def path(self) -> str:
        """The file behind the first argument, a descriptor."""
        found = PLACE.match(self.args)
        return found["path"] if found else ""

    @property
    def texts(self) -> list[str]:
        """The quoted arguments."""
        return TEXT.findall(self.args)

    @property
    def worked(self) -> bool:
        return not self.result.startswith("-1") and "INJECTED" not in self.result


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """Finished calls in the order in which they ended."""
    open_calls: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        found = LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        pid, text = int(found["pid"]), found["text"]
        if begun := BEGUN.match(text):
            open_calls[pid] = (number, begun["args"])
        elif ended := ENDED.match(text):
            start, args = open_calls.pop(pid, (number, ""))
            yield Call(pid, ended["call"], args + ended["args"], ended["result"], start, number)
        elif whole := WHOLE.match(text):
            yield Call(pid, whole["call"], whole["args"], whole["result"], number, number)


@dataclass
class Disk:
    """What would be left after a power loss at this moment. `violations` says where that would not do."""

    root: str
    written: dict[str, int] = field(default_factory=dict)  # path → when it was last written
    synced: dict[str, int] = field(default_factory=dict)  # path or folder → when the last sync of it began
    named: dict[str, int] = field(default_factory=dict)  # path → when this name came into its folder
    by: dict[str, dict[int, int]] = field(default_factory=dict)  # path → thread → its last write
    violations: list[str] = field(default_factory=list)
    referred: int = 0
    commits: int = 0

    def follow(self, trace: Iterable[Call]) -> Disk:
        for call in trace:
            if call.worked:
                self._take(call)
        return self

    # -- what happens --------------------------------------------------------------------------------------------

    def _take(self, call: Call) -> None:
        name = call.name
        if name in WRITES:
            self._write(call, call.path)
        elif name in COPIES:
            self._write(call, _nth_path(call.args, COPIES[name]))
        elif name in ("fsync", "fdatasync"):
            self.synced[call.path] = call.begun
        elif name in ("openat", "creat"):
            path = _opened(call)
            if ("O_CREAT" in call.args or name == "creat") and path not in self.named:
                self._name(path, call.ended)
            if "O_TRUNC" in call.args and path in self.written:
                self.written[path] = call.ended
        elif name in ("mkdir", "mkdirat"):
            self._name(call.texts[0], call.ended)
        elif name in ("rename", "renameat", "renameat2", "link", "linkat"):
            self._move(call, *call.texts[:2], gone="link" not in name)
        elif name in ("unlink", "unlinkat"):
            for known in (self.written, self.synced, self.named):
                known.pop(call.texts[0], None)

    def _write(self, call: Call, path: str) -> None:
        if path.endswith(MARK):
            self._marked(call, call.texts[0])
            return
        if call.name == "ftruncate" and path.endswith("-wal"):
            if path.removesuffix("-wal") in self.written:  # what it held must last in the database by now
                self._must_last(path.removesuffix("-wal"), "a log that is cut")
            return  # should the cut not last, the log holds the same again
        self._before_write(call, path)
        self.written[path] = call.ended
        self.by.setdefault(path, {})[call.pid] = call.ended

    def _name(self, path: str, when: int) -> None:
        self.named[path] = when

    def _move(self, call: Call, old: str, new: str, *, gone: bool) -> None:
        for known in (self.written, self.synced):
            known.pop(new, None)
            if old in known:
                known[new] = known.pop(old) if gone else known[old]
        if gone:
            self.named.pop(old, None)
        self.named[new] = call.ended

    # -- what is referred to -------------------------------------------------------------------------------------

    def _marked(self, call: Call, text: str) -> None:
        """What the driver says in the file of marks.

        `refer PATH`: a commit is about to refer to a file. `committed PATH`: a commit of this thread has returned.
        `durable PATH`: a commit is about to say that this database holds what it should.
        """
        what, _, path = text.replace("\\n", "").partition(" ")
        if what == "refer":
            self.referred += 1
            self._must_last(f"{self.root}/{path}", "a ledger commit")
        elif what == "committed":
            self.commits += 1
            log = f"{self.root}/{path}-wal"
            last = self.by.get(log, {}).get(call.pid)
            if last is None or self.synced.get(log, -1) <= last:
                self.violations.append(f"a commit to {path} returned before its log was synced")
            self._must_be_named(log, "a commit")
            self._must_be_named(f"{self.root}/{path}", "a commit")
        elif what == "durable":
            self.commits += 1
            for name in (path, f"{path}-wal"):
                if f"{self.root}/{name}" in self.written:
                    self._must_last(f"{self.root}/{name}", "the ledger's word on a sink")

    def _before_write(self, call: Call, path: str) -> None:
        """A sink is written only after the ledger's commit lasts.

        The catalog names metadata, which names manifests: whatever of these was ever written must last by now.
        """
        log = f"{self.root}/ledger.db-wal"
        if path.startswith((f"{self.root}/catalog.db", f"{self.root}/keyed/")):
            last = self.by.get(log, {}).get(call.pid)
            if last is not None and self.synced.get(log, -1) <= last:
                self.violations.append(f"{path} is written before what the ledger said of it is synced")
        if path in (f"{self.root}/catalog.db", f"{self.root}/catalog.db-wal"):
            for written in [p for p in self.written if "/metadata/" in p]:
                self.referred += 1
                self._must_last(written, "the catalog")

    def _must_last(self, path: str, who: str) -> None:
        if path not in self.written:
            self.violations.append(f"{who} refers to {path}, which nobody wrote")
        elif self.synced.get(path, -1) <= self.written[path]:
            self.violations.append(f"{who} refers to {path}, whose bytes are not synced")
        self._must_be_named(path, who)

    def _must_be_named(self, path: str, who: str) -> None:
        """Every name on the way from the root's own, where it was made in this run."""
        place = PurePosixPath(path)
        while str(place).startswith(self.root):
            made = self.named.get(str(place))
            if made is not None and self.synced.get(str(place.parent), -1) <= made:
                self.violations.append(
                    f"{who} refers to {path}, but the name {place.name} in {place.parent} is not synced"
                )
            place = place.parent


def _opened(call: Call) -> str:
    """The path that was opened: strace shows it behind the resulting descriptor."""
    found = PLACE.match(call.result)
    return found["path"] if found else call.texts[0]


def _nth_path(args: str, n: int) -> str:
    found = PLACE.match(args.split(", ")[n])
    return found["path"] if found else ""
