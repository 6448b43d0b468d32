"""Rules that hold for the repository as a whole, whoever changes it."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from offload_core.results.accounting import ExitCode

ROOT = Path(__file__).parents[2]
PROVIDERS = {"local", "docker", "modal", "command"}
PACKAGES = sorted(
    path for place in ("providers/*/offload_*", "docs/examples/offload-*/offload_*") for path in ROOT.glob(place)
)
"""The packages of the providers that ship with Offload, and of the examples."""
PROVIDER_PACKAGES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("providers/*/offload_*"))
PRIVATE = re.compile("_(?!_)")
PUBLIC_MODULES = {"abc", "errors", "kit", "liveness", "retry", "testing"}
TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "docs",
    "offload.toml",
    "offload_core",
    "providers",
    "pyproject.toml",
    "tests",
    "tox.ini",
}


def tracked() -> list[Path]:
    """Every file that belongs to the repository, also one that is not committed yet; relative to its root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = (Path(name) for name in done.stdout.decode().split("\0") if name)
    return [path for path in paths if (ROOT / path).is_file()]


def sources(directory: str) -> list[Path]:
    """The Python files under a directory, sorted."""
    found = sorted((ROOT / directory).rglob("*.py"))
    assert found, f"no sources in {directory}: the test would prove nothing"
    return found


def imported(path: Path) -> Iterator[str]:
    """The absolute names of all modules that a file imports, wherever in the file."""
    package = package_of(path)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def package_of(path: Path) -> tuple[str, ...]:
    """The packages that a file is in, from the outermost: a provider's package is one by itself."""
    parts = path.relative_to(ROOT).parent.parts
    start = next((index for index, part in enumerate(parts) if part.startswith("offload_")), 0)
    return parts[start:]


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a file that are no docstrings, with their lines."""
    tree = ast.parse(path.read_bytes())
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """The names in a file's code, with their lines."""
    for token in tokenize.tokenize(io.BytesIO(path.read_bytes()).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def test_top_level_holds_only_what_belongs_there() -> None:
    """A new file at the root is a decision, not an accident."""
    assert {path.parts[0] for path in tracked()} <= TOP_LEVEL


def test_core_imports_no_provider() -> None:
    """Not even inside a function."""
    providers = {f"offload_{name}" for name in PROVIDERS} | {"docker", "modal"}
    wrong = [
        (str(path), name)
        for path in sources("offload_core")
        for name in imported(path)
        if name.partition(".")[0] in providers
    ]
    assert not wrong


def test_core_names_no_provider_but_to_say_how_to_install_it() -> None:
    """No branch, table or message of the core depends on which provider it is. `plugins.py` may know the names of the
    distributions that are ours, for the `pip install` command, and `init` the one that it writes by default.
    """
    named = re.compile(rf"(?i)\boffload[-_]({'|'.join(PROVIDERS)})\b|\b(docker|modal)\b|^local$")
    excused = {ROOT / "offload_core" / "plugins.py"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in sources("offload_core")
        if path not in excused
        for line, text in (*strings(path), *identifiers(path))
        if named.search(text)
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_providers_use_the_public_door(package: Path) -> None:
    """A provider that ships with Offload, or is an example, imports what a third party may import: the public modules,
    and none of the private ones below them.
    """
    wrong = []
    for path in sources(str(package.relative_to(ROOT))):
        for name in imported(path):
            top, *rest = name.split(".")
            if top == "offload_core" and rest and (rest[0] not in PUBLIC_MODULES or any(map(PRIVATE.match, rest))):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong


def product() -> list[Path]:
    """The Python files of the core and of the providers that ship with it."""
    return [path for place in ("offload_core", *PROVIDER_PACKAGES) for path in sources(place)]


def test_no_circle_of_imports() -> None:
    """No file imports, by way of others, what imports it; not even for types."""
    names = {module_name(path): path for path in product()}
    graph = {
        name: {found for found in imported(path) if found in names and found != name} for name, path in names.items()
    }
    # a package's face only hands on what is in it: its files may name their siblings by it
    graph = {name: found - faces(name) for name, found in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def module_name(path: Path) -> str:
    """The name that a file is imported by."""
    return ".".join((*package_of(path), path.stem)).removesuffix(".__init__")


def faces(name: str) -> set[str]:
    """The packages that a module is in."""
    parts = name.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def test_nothing_is_too_long() -> None:
    """A file has at most 400 lines, a function 50. The plugin that travels into sandboxes has to be one file."""
    scripts = [path for path in tracked() if path.suffix in (".js", ".mjs", ".css") and path.parts[0] == "offload_core"]
    files = [*product(), *(ROOT / path for path in scripts)]
    long = [str(path) for path in files if path.name != "plugin.py" and len(path.read_text().splitlines()) > 400]
    long += [
        f"{path}: {node.name}"
        for path in product()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno >= 50
    ]
    assert not long


def test_contracts_import_no_implementation() -> None:
    """`offload_core.abc` knows itself and the errors."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("offload_core/abc")
        for name in imported(path)
        if name.startswith("offload_core.") and not name.startswith(("offload_core.abc", "offload_core.errors"))
    ]
    assert not wrong


def test_every_room_is_named_for_those_who_come() -> None:
    """The table in CONTRIBUTING.md has every room of the core, and no other."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `offload_core/([\w.]+)/?` \|", page, re.MULTILINE))
    rooms = {path.name for path in (ROOT / "offload_core").iterdir() if not path.name.startswith("__")}
    assert named == rooms - {"py.typed"}


def test_every_package_is_typed() -> None:
    """Each distribution carries `py.typed`."""
    assert [
        str(package) for package in (ROOT / "offload_core", *PACKAGES) if not (package / "py.typed").is_file()
    ] == []


def test_no_registry_is_named() -> None:
    """Where packages come from is decided where they are installed, never in a file of the repository."""
    hosts = re.compile(
        "|".join(("pypi" + r"\.org", "python" + r"hosted\.org", "--index" + "-url", "--extra-index" + "-url"))
    )
    wrong = [
        str(path) for path in tracked() if hosts.search((ROOT / path).read_text(encoding="utf-8", errors="replace"))
    ]
    assert not wrong


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    """A module's name says what is in it."""
    vague = {"utils", "helpers", "common", "misc"}
    assert not [path for path in tracked() if path.stem in vague or vague & set(path.parts)]


def test_constraints_are_versions_and_nothing_else() -> None:
    """Plain `name==version` lines: no hosts, no hashes, no options."""
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.+]*", line)] == []


def test_exit_codes_are_documented() -> None:
    """The table of the documentation has every exit code under its name, and no other."""
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", page, re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [(code.value, code.name) for code in ExitCode]


def test_changelog_fragments_have_a_known_kind() -> None:
    """A fragment of an unknown kind would be left out of the changelog in silence."""
    names = [path.name for path in (ROOT / "docs" / "changelog.d").iterdir()]
    assert [
        name for name in names if not re.fullmatch(r"(\d+|\+[\w-]+)\.(added|changed|fixed|removed)\.md", name)
    ] == []
