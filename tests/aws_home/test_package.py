"""What Lambda gets: the same bytes from everybody, no secret, small, quick to start, and it works there."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import zstandard

from aws_home.packages import CANARY, PIPELINES, SOURCE, bare, built, library, project, python312, unpacked, writable
from formats.reading import workbook
from headrace.aws.bundle import contents, wheels
from headrace.aws.bundle.bytecode import compiled, name_of
from headrace.aws.bundle.closure import closure
from headrace.aws.bundle.libraries import libraries
from headrace.aws.bundle.package import Package
from headrace.aws.bundle.wheels import Wheel
from headrace.aws.options import ROLES, Role
from headrace.model.codes import CODES
from headrace.model.errors import DefinitionError, InfrastructureError

MAGIC = "import importlib.util; print(importlib.util.MAGIC_NUMBER.hex())"
"""Bytecode's first four bytes; the next four say 1 where nothing is to be checked against the source."""

GOALS: dict[Role, float] = {"ingest": 1.5, "publish": 3.0}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    folder = project(tmp_path_factory.mktemp("project"))
    into = tmp_path_factory.mktemp("packages")
    return {role: built(folder, role, into) for role in ROLES}


@pytest.fixture(scope="module")
def code(packages: dict[str, Package], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Both packages as folders that nobody may write to."""
    folders = {role: unpacked(made, tmp_path_factory.mktemp(role) / "task") for role, made in packages.items()}
    yield folders
    for folder in folders.values():
        writable(folder)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that has the wheels already and nothing else, so that all is made anew."""
    usual, own = wheels.cache_folder(), tmp_path / "cache"
    own.mkdir()
    (usual / "wheels").mkdir(parents=True, exist_ok=True)
    (own / "wheels").symlink_to(usual / "wheels")
    monkeypatch.setenv("HEADRACE_CACHE", str(own))
    return own


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip may look at: a folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.parametrize("role", ROLES)
def test_two_people_get_the_same_bytes(role: str, packages: dict[str, Package], tmp_path: Path, cache: Path) -> None:
    folder = project(tmp_path / "elsewhere" / "of another name")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        again = built(folder, role, tmp_path / "packages")
    finally:
        os.umask(before)
    assert again.sha256 == packages[role].sha256
    assert again.sha256 == wheels.digest_of(again.path)
    assert (cache / "libraries").is_dir()  # nothing was taken from the first one's


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_a_package_is_small_enough_for_lambda(role: str, architecture: str, tmp_path: Path) -> None:
    made = built(project(tmp_path / "p"), role, tmp_path / "packages", architecture)
    with zipfile.ZipFile(made.path) as opened:
        assert opened.testzip() is None
        assert made.unzipped_bytes == sum(info.file_size for info in opened.infolist()) < 250 * 2**20
        assert made.files == tuple(opened.namelist()) == tuple(sorted(opened.namelist()))
        machine = {"x86_64": "aarch64", "arm64": "x86_64"}[architecture]
        assert not [name for name in made.files if name.endswith(".so") and machine in name]


def test_no_secret_and_nothing_of_the_project_that_no_definition_imports_is_in_a_package(
    packages: dict[str, Package],
) -> None:
    for made in packages.values():
        with zipfile.ZipFile(made.path) as opened:
            own = ("helpers", "steps", "env", ".hidden", "pipelines.py", "headrace.toml", "notes.py")
            assert {name for name in made.files if name.split("/")[0] in own} == {
                "headrace.toml",
                "pipelines.py",
                "steps/clean.sql",
                "helpers/__init__.py",
                "helpers/doubling.py",
                *(name_of(n) for n in ("helpers/__init__.py", "helpers/doubling.py") if made.bytecode),
            }
            assert not [name for name in made.files if CANARY.encode() in opened.read(name)]
            assert not [name for name in made.files if name.split("/")[0] in ("tests", ".git", ".env", ".headrace")]
            said = opened.read("headrace.toml").decode()
    assert 'stack = "rows"' in said and 'child_timeout = "4 min"' in said and "local" not in said


def test_a_package_has_what_its_function_needs_and_no_library_of_the_other(packages: dict[str, Package]) -> None:
    tops = {role: {name.split("/")[0].split(".")[0] for name in made.files} for role, made in packages.items()}
    assert {"duckdb", "pyarrow", "fastexcel", "botocore", "tzdata", "headrace"} <= tops["ingest"]
    assert not {"pyiceberg", "pydantic", "sqlglot", "rich", "boto3", "watchfiles", "pip"} & tops["ingest"]
    assert {"duckdb", "pyiceberg", "botocore", "tzdata", "headrace"} <= tops["publish"]
    assert not {"pyarrow", "fastexcel", "sqlglot", "rich", "boto3", "hive_metastore"} & tops["publish"]
    for made in packages.values():
        services = {n.split("/")[2] for n in made.files if n.startswith("botocore/data/") and n.count("/") > 2}
        assert services == set(contents.SERVICES)
        assert not [n for n in made.files if n.endswith(("RECORD", ".pyi", ".pxd", ".h")) or "/tests/" in n]
        assert not [n for n in made.files if n.startswith(("headrace/cli", "headrace/local", "headrace/server"))]


def test_every_entry_of_a_zip_is_of_one_date_and_one_mode(packages: dict[str, Package]) -> None:
    for made in packages.values():
        with zipfile.ZipFile(made.path) as opened:
            assert {(i.date_time, i.external_attr >> 16) for i in opened.infolist()} == {
                ((1980, 1, 1, 0, 0, 0), 0o100644)
            }


@pytest.mark.parametrize("role", ROLES)
def test_a_function_starts_in_time_and_from_its_package_alone(
    role: Role, code: dict[str, Path], tmp_path: Path
) -> None:
    python = python312()
    runs = [bare(python, "import", code[role], *contents.ENTRIES[role], work=tmp_path) for _ in range(3)]
    print(role, [(f"{run['wall']:.2f} s", f"{run['cpu']:.2f} CPU s") for run in runs])
    assert min(run["cpu"] for run in runs) <= GOALS[role]
    assert ("pyarrow" in runs[0]["loaded"]) is False or role == "ingest"


@pytest.mark.parametrize("role", ROLES)
def test_whatever_a_functions_modules_import_is_in_its_package(role: Role, packages: dict[str, Package]) -> None:
    found, foreign = closure(SOURCE.parent, contents.ENTRIES[role], contents.NOT_THERE)
    assert set(contents.ENTRIES[role]) <= set(found)
    there = {name.split("/")[0].split(".")[0] for name in packages[role].files} | set(sys.stdlib_module_names)
    lacking = {name.split(".")[0] for name in foreign} - there
    assert lacking <= ({"pyiceberg"} if role == "ingest" else set())  # the lake's commits, which only a publisher makes


def files(into: Path) -> set[str]:
    """One file of each format, all with keys of their own but two."""
    into.mkdir(parents=True)
    text = {n: f"k,v\n{n},{n}\n99,{n}\n".encode() for n in range(1, 10)}
    (into / "1.csv").write_bytes(text[1])
    (into / "2.csv.gz").write_bytes(gzip.compress(text[2]))
    (into / "3.csv.zst").write_bytes(zstandard.compress(text[3]))
    with zipfile.ZipFile(into / "4.zip", "w") as made:
        made.writestr("a.csv", text[4])
    (into / "5.json").write_text(json.dumps([{"k": 5, "v": 5}, {"k": 99, "v": 5}]))
    (into / "6.jsonl").write_text('{"k": 6, "v": 6}\n{"k": 99, "v": 6}\n')
    duckdb.connect().execute(f"copy (select unnest([7, 99]) as k, 7 as v) to '{into / '7.parquet'}' (format parquet)")
    (into / "8.xlsx").write_bytes(workbook([["k", "v"], [8, 8], [99, 8]]))
    (into / "9.csv").write_bytes("k,v,r\xe9gion\n9,9,\xeele\n99,9,\xe0\n".encode("latin-1"))
    return {f"in/{path.name}" for path in into.iterdir()}


def test_every_format_is_read_and_published_by_the_packages_where_only_tmp_can_be_written(
    code: dict[str, Path], tmp_path: Path
) -> None:
    python = python312()
    keys = files(tmp_path / "root" / "landing" / "in")
    staged = bare(python, "ingest", code["ingest"], SOURCE, tmp_path, work=tmp_path)
    assert {(key, state, cause) for key, state, cause in staged["loads"]} == {(key, "staged", "") for key in keys}
    stands = bare(python, "publish", code["publish"], SOURCE, tmp_path, work=tmp_path)
    assert {(key, state) for key, state, _ in stands["loads"]} == {(key, "standing") for key in keys}
    assert "pyarrow" not in stands["loaded"]
    rows = duckdb.execute("select k, v from read_parquet($1) where k < 99 order by k", [stands["files"]]).fetchall()
    assert rows == [(n, 2 * n) for n in range(1, 10)]  # the step, with PyArrow's functions, doubled them
    assert duckdb.execute("select count(*) from read_parquet($1)", [stands["files"]]).fetchone() == (10,)


def test_unchanged_inputs_are_not_packaged_again_and_changed_ones_are(tmp_path: Path) -> None:
    folder, into = project(tmp_path / "p"), tmp_path / "packages"
    first = built(folder, "publish", into)
    written = first.path.stat().st_mtime_ns
    began = time.process_time()
    again = built(folder, "publish", into)
    assert time.process_time() - began < 0.1
    assert again == first and again.path.stat().st_mtime_ns == written
    (folder / "readings.csv").write_text("not a part of it")
    assert built(folder, "publish", into).path.stat().st_mtime_ns == written
    (folder / "helpers" / "doubling.py").write_text("def doubled(table):\n    return table\n")
    assert built(folder, "publish", into).sha256 != first.sha256


def test_a_zip_that_was_touched_is_made_again(tmp_path: Path) -> None:
    folder, into = project(tmp_path / "p"), tmp_path / "packages"
    first = built(folder, "publish", into)
    with first.path.open("ab") as out:
        out.write(b"more")
    assert built(folder, "publish", into).sha256 == first.sha256 == wheels.digest_of(first.path)


def test_a_library_of_the_projects_own_comes_along_pinned_and_hashed(tmp_path: Path, index: Path, cache: Path) -> None:
    folder, digest = project(tmp_path / "p"), library(index)
    (folder / "requirements.txt").write_text(f"# own\nlittlelib==1.0 \\\n    --hash=sha256:{digest}\n")
    made = built(folder, "publish", tmp_path / "packages")
    assert {"littlelib/__init__.py", "littlelib-1.0.dist-info/METADATA"} <= set(made.files)
    assert "littlelib-1.0.dist-info/RECORD" not in made.files


def test_other_bytes_than_those_that_were_locked_are_refused(tmp_path: Path, index: Path) -> None:
    locked = Wheel("littlelib", "1.0", (library(index),))
    library(index, "ANSWER = 'something else'\n")
    with pytest.raises(InfrastructureError, match="HR823 littlelib==1.0: the index gives other bytes"):
        wheels.fetch([locked], "x86_64", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_a_damaged_wheel_of_the_cache_is_fetched_again(tmp_path: Path, index: Path) -> None:
    locked = Wheel("littlelib", "1.0", (library(index),))
    kept = wheels.fetch([locked], "x86_64", tmp_path / "cache")["littlelib"]
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    assert wheels.fetch([locked], "x86_64", tmp_path / "cache")["littlelib"].read_bytes() == whole


def test_an_index_that_does_not_have_it_and_one_that_does_not_answer_are_told_apart(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = Wheel("littlelib", "1.0", ("0" * 64,))
    with pytest.raises(InfrastructureError, match="HR824 package: No matching distribution found for littlelib==1.0"):
        wheels.fetch([locked], "x86_64", tmp_path / "cache")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://somebody:{CANARY}@127.0.0.1:9/simple")
    with pytest.raises(InfrastructureError, match="HR821 package: the package index cannot be reached") as told:
        wheels.fetch([locked], "x86_64", tmp_path / "cache")
    assert CANARY not in str(told.value)


def test_without_pip_it_says_so(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\n"
        "from pathlib import Path\n"
        "from headrace.aws.bundle import wheels\n"
        f"wheels.fetch([wheels.Wheel('littlelib', '1.0', ('0' * 64,))], 'x86_64', Path({str(tmp_path)!r}))\n"
    )
    command = [sys.executable, "-I", "-S", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 1 and "HR822 package: there is no pip here" in done.stderr


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("pandas", "HR825", "'pandas' is not `name==version --hash"),
        ("pandas>=2 --hash=sha256:" + "0" * 64, "HR825", "is not `name==version --hash"),
        ("pandas==2.2.0", "HR825", "is not `name==version --hash"),
        ("-r other.txt", "HR825", "'-r other.txt' is not"),
        ("duckdb==1.0.0 --hash=sha256:" + "0" * 64, "HR826", "duckdb 1.0.0, and Headrace is locked to"),
    ],
)
def test_requirements_that_are_not_pinned_or_not_ours_are_refused(
    line: str, code: str, said: str, tmp_path: Path
) -> None:
    folder = project(tmp_path / "p")
    (folder / "requirements.txt").write_text(f"{line}\n")
    with pytest.raises(DefinitionError, match=f"{code} requirements.txt: .*{said}"):
        built(folder, "ingest", tmp_path / "packages")


def test_a_library_of_headraces_that_definitions_import_comes_along_and_anothers_must_be_pinned(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    (folder / "pipelines.py").write_text(PIPELINES)
    made = built(folder, "publish", tmp_path / "packages")
    assert "pyarrow/__init__.py" in made.files and made.unzipped_bytes < 250 * 2**20
    (folder / "helpers" / "doubling.py").write_text("import os, some_library.part\n")
    with pytest.raises(
        DefinitionError, match=r"HR825 helpers/doubling\.py: imports 'some_library'.*pin it in requirem"
    ):
        built(folder, "publish", tmp_path / "packages")


def test_a_module_with_a_librarys_name_is_refused(tmp_path: Path) -> None:
    folder = project(tmp_path / "p")
    (folder / "duckdb.py").write_text("")
    (folder / "pipelines.py").write_text("import duckdb\n")
    with pytest.raises(DefinitionError, match=r"HR828 duckdb\.py: 'duckdb' is the name of a library"):
        built(folder, "ingest", tmp_path / "packages")


def test_an_architecture_that_lambda_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="HR820 architecture: 'riscv64'; use one of x86_64, arm64"):
        built(project(tmp_path / "p"), "ingest", tmp_path / "packages", "riscv64")


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_lock_has_every_library_of_both_functions_at_the_projects_own_versions(architecture: str) -> None:
    locked = wheels.locked(wheels.architecture(architecture))
    assert {name for names in contents.LIBRARIES.values() for name in names} <= set(locked)
    said = (SOURCE.parent.parent / "constraints.txt").read_text("utf-8").splitlines()
    versions = {line.split("==")[0]: line.split("==")[1].split()[0] for line in said if "==" in line}
    assert {name: wheel.version for name, wheel in locked.items() if name in versions} == {
        name: version for name, version in versions.items() if name in locked
    }


def test_every_code_of_packaging_is_explained() -> None:
    assert {f"HR{n}" for n in range(820, 830)} <= set(CODES)


def test_where_no_python_of_the_functions_is_a_package_holds_no_bytecode(tmp_path: Path, index: Path) -> None:
    locked = [Wheel("littlelib", "1.0", (library(index),))]
    kept = libraries(locked, "x86_64", None, tmp_path / "cache")
    assert zipfile.ZipFile(kept).namelist() == ["littlelib-1.0.dist-info/METADATA", "littlelib/__init__.py"]
    with_it = libraries(locked, "x86_64", python312(), tmp_path / "cache")
    assert with_it != kept
    assert name_of("littlelib/__init__.py") in zipfile.ZipFile(with_it).namelist()


def test_bytecode_is_of_the_functions_python_and_asks_for_no_source_files_date(packages: dict[str, Package]) -> None:
    python = python312()
    magic = subprocess.run([python, "-c", MAGIC], capture_output=True, check=True).stdout.strip()
    for made in packages.values():
        with zipfile.ZipFile(made.path) as opened:
            heads = {name: opened.read(name)[:8] for name in made.files if name.endswith(".pyc")}
            modules = {name for name in made.files if name.endswith(".py")}
        assert {name_of(name) for name in modules} == set(heads)
        assert {(head[:4].hex().encode(), int.from_bytes(head[4:], "little")) for head in heads.values()} == {
            (magic, 1)
        }


def test_a_python_that_cannot_compile_for_the_functions_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    other = tmp_path / "python3.12"
    other.write_text("#!/bin/sh\necho 'it is 3.9' >&2\nexit 1\n")
    other.chmod(0o755)
    with pytest.raises(InfrastructureError, match=r"HR827 .*/python3\.12: it is 3\.9; set HEADRACE_PYTHON312"):
        compiled(other, tmp_path, ["a.py"])
