"""Runs every snippet of the documentation, page by page, in a project of its own.

What a fence says behind its language tells what is done with it (CONTRIBUTING.md repeats this):

    ```python file=pipelines.py     is written to that file, as is ```toml, ```csv, ```sql ... with file=
    ```python                       is run, in the folder of the page's project
    ```console                      each `$ command` is run; what follows it is what it prints
    ```console exit=1               the same, for commands that end with that exit code
    ```python no-run                is only shown, as is ```console no-run; other languages always are

In expected output `...` stands for anything within a line, and a line of `...` for any lines. A page that holds
`<!-- project: examples/substation_load -->` begins in a copy of that folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
PROJECT = re.compile(r"<!-- project: (\S+) -->")


@dataclass(frozen=True)
class Snippet:
    language: str
    words: tuple[str, ...]
    text: str
    line: int

    def option(self, name: str) -> str | None:
        return next((w.partition("=")[2] for w in self.words if w.startswith(f"{name}=")), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_snippet_of_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    project = tmp_path / "project"
    begin = PROJECT.search(text)
    if begin:
        shutil.copytree(ROOT / begin[1], project, ignore=shutil.ignore_patterns(".headrace", "__pycache__", "input"))
    else:
        project.mkdir()
    for snippet in snippets(text):
        where = f"{page.relative_to(ROOT)}:{snippet.line}"
        if name := snippet.option("file"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(snippet.text, encoding="utf-8")
        elif "no-run" in snippet.words:
            continue
        elif snippet.language == "python":
            run([sys.executable, "-c", snippet.text], project, where, 0)
        elif snippet.language == "console":
            for command, expected in commands(snippet.text):
                printed = run(
                    ["bash", "-c", command], project, f"{where} $ {command}", int(snippet.option("exit") or 0)
                )
                if os.environ.get("HEADRACE_SHOW"):
                    print(f"$ {command}\n{printed}")
                assert matches(expected, printed), f"{where} $ {command}\nprinted:\n{printed}\nexpected:\n{expected}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    wrong = [
        target
        for target in LINK.findall(text)
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]
    assert not wrong, f"{page.relative_to(ROOT)} leads nowhere: {', '.join(wrong)}"


def test_the_reference_names_every_setting_with_its_default_and_every_suffix() -> None:
    from headrace.engine.settings import Settings
    from headrace.formats.archive import KNOWN

    text = (ROOT / "docs/reference/definition.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| `\"?([^`\"]+)\"?` \|", text.partition("## headrace.toml")[2], re.MULTILINE))
    raw = {name: int(value) if value.isdigit() else value for name, value in told.items()}
    assert Settings.from_mapping(raw) == Settings() and set(raw) == set(Settings.__dataclass_fields__)
    assert not [suffix for suffix in KNOWN if f"`{suffix}`" not in text]


def test_the_guide_to_aws_names_every_option_with_its_default() -> None:
    from headrace.aws.options import AwsOptions

    table = (ROOT / "docs/aws/deploy.md").read_text("utf-8").partition("\n## Options\n")[2]
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`[^|]+) \|([^|]*)\|", table, re.MULTILINE):
        keys, values = re.findall(r"`(\w+)`", names), [value.strip(' `"') for value in defaults.split(", ")]
        told |= dict(zip(keys, values if len(values) == len(keys) else values * len(keys), strict=False))
    assert set(told) == {name for name in AwsOptions.__dataclass_fields__ if name != "settings"}
    said = {name: value for name, value in told.items() if re.fullmatch(r"[\d_]+|x86_64|true|false|\d+ GB", value)}
    raw = {
        name: {"true": True, "false": False}.get(value, int(value) if value.isdigit() else value)
        for name, value in said.items()
    }
    place = {"stack": "lv", "region": "eu-west-2"}
    assert AwsOptions.from_mapping({**place, **raw}) == AwsOptions.from_mapping(place)
    assert len(raw) > 12


def test_expected_output_is_compared_line_by_line() -> None:
    assert matches("read ... rows", "read 18,143 rows\n")
    assert matches("a\n...\nz", "a\nb\nc\nz")
    assert matches("", "anything")
    assert not matches("read 1 rows", "read 2 rows")
    assert not matches("a\nz", "a\nb\nz")


def snippets(text: str) -> Iterator[Snippet]:
    for found in FENCE.finditer(text):
        indent, language, words, body = found.groups()
        body = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        yield Snippet(language, tuple(words.split()), body, text.count("\n", 0, found.start()) + 1)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command with what it is expected to print. A line that ends with a backslash goes on."""
    command, expected = "", list[str]()
    for line in text.splitlines():
        if command.endswith("\\"):
            command = command[:-1] + line.strip()
        elif line.startswith("$ "):
            if command:
                yield command, "\n".join(expected)
            command, expected = line[2:], []
        else:
            expected.append(line)
    yield command, "\n".join(expected)


def run(argv: list[str], directory: Path, where: str, code: int) -> str:
    """Run with the tested `headrace` first on the path; standard error counts as output, as it does on a screen."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "120"}
    done = subprocess.run(
        argv, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert done.returncode == code, f"{where}\nended with {done.returncode}, not {code}:\n{done.stdout}"
    return done.stdout


def matches(expected: str, printed: str) -> bool:
    """Whether the output is as expected; nothing expected means that anything will do."""
    if not expected.strip():
        return True
    pattern = ""
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*?".join(re.escape(part) for part in line.rstrip().split("...")) + "[ \t]*\n"
    trimmed = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines()) + "\n"
    return re.fullmatch(pattern, trimmed) is not None
