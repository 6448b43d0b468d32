"""The commands that look at a configuration and at what is installed: validate, providers, doctor, reap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offload_core.cli import main
from offload_core.plugins import FRAMEWORKS, PROVIDERS

PLUGINS = '''
import time
from pathlib import Path
import attrs
from offload_core.abc import Finding, Framework, Health, Image, Provider, SandboxRef, Severity, key
from offload_core.errors import ConnectionLost, PrepareFailed

@attrs.frozen(kw_only=True)
class Options:
    directory: str = key("", "Where the sandboxes are: a file each.")
    findings: str = key("", "What check says.")

class Toy(Provider):
    """Sandboxes are files. One named `*.stubborn` takes two tries to be terminated, one named `*.stuck` never is."""

    Options = Options
    contract = 2
    needs_sandbox_root = False
    tries = 0

    async def create(self, spec): ...
    def attach(self, ref): ...

    async def list(self, run_id=None):
        refs = []
        for path in sorted(Path(self.options.directory).iterdir()):
            run, name, expires = path.name.split("_")[:3]
            ref = SandboxRef(id=path.name, run_id=run, name=name, expires=time.time() + float(expires))
            refs.append(ref)
        return [ref for ref in refs if run_id in (None, ref.run_id)]

    async def terminate_many(self, refs):
        self.tries += 1
        failed = {}
        for ref in refs:
            if ref.id.endswith(".stuck") or (ref.id.endswith(".stubborn") and self.tries < 2):
                failed[ref] = ConnectionLost("no answer", sandbox=ref.id)
            else:
                (Path(self.options.directory) / ref.id).unlink()
        return failed

    async def check(self):
        match self.options.findings:
            case "raises":
                raise RuntimeError("oh")
            case "":
                return Health()
        return Health((Finding(Severity.OK, "reachable"), Finding(Severity(self.options.findings), "seen", "do this")))

class Imaging(Toy):
    async def prepare(self, request):
        request.progress("step 1")
        if self.options.findings:
            raise PrepareFailed(self.options.findings)
        return Image(id=f"image-{request.no_cache}-{len(request.copy)}")

class Plain(Framework):
    Options = attrs.make_class("PlainOptions", {}, frozen=True)
    contract = 2
    def discover(self, group, launch): ...
    async def open(self, launch, collection): ...
'''


@pytest.fixture(autouse=True)
def project(distributions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a configuration for a provider whose sandboxes are files in `sandboxes/`."""
    providers = {"toy": "toy_commands:Toy", "imaging": "toy_commands:Imaging"}
    entry_points = {PROVIDERS: providers, FRAMEWORKS: {"plain": "toy_commands:Plain"}}
    distributions.add("offload-toy", entry_points, {"toy_commands": PLUGINS}, version="4.2")
    root = tmp_path / "project"
    (root / "sandboxes").mkdir(parents=True)
    monkeypatch.chdir(root)
    configure()
    return root


def configure(provider: str = "", offload: str = "", kind: str = "toy") -> None:
    """Write the configuration, with these lines in its tables."""
    Path("offload.toml").write_text(
        f"[offload]\n{offload}\n[provider]\ntype = '{kind}'\ndirectory = 'sandboxes'\n{provider}\n"
        "[framework]\ntype = 'plain'\n[groups.fast]\nretry_count = 2\n[groups.slow]\n"
        "[retry]\ninitial_wait_secs = 0\n",
        encoding="utf-8",
    )


def test_validate_tells_what_the_configuration_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines that scripts around Offload know."""
    configure(offload="max_parallel = 3\nsandbox_init_cmd = 'make'")
    assert main(["validate"]) == 0
    assert capsys.readouterr() == (
        "Configuration is valid!\n\nSettings:\n  Max parallel: 3\n  Test timeout: 900s\n  Provider: toy\n"
        "  Framework: plain\n  Sandbox init cmd: make\n\nGroups:\n  fast: retry_count = 2\n  slow: retry_count = 0\n",
        "",
    )


def test_validate_tells_the_whole_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, stdout empty, the reason with its place."""
    configure(offload="max_parallel = 'x'")
    assert main(["validate"]) == 4
    assert capsys.readouterr() == (
        "",
        'Configuration error: offload.toml:2: offload.max_parallel: expected an integer, found "x" (a string)\n',
    )


def test_validate_strict_fails_on_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown keys are warnings on stderr; `--strict` makes errors of them."""
    configure(offload="max_paralel = 3")
    assert main(["validate"]) == 0
    captured = capsys.readouterr()
    assert "Warning: Ignoring unrecognized config key: offload.max_paralel (offload.toml:2" in captured.err
    assert "Warning" not in captured.out
    assert main(["validate", "--strict"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 warning" in captured.err


def test_providers_shows_working_and_broken_ones(distributions: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its distribution and version, a broken one with the reason; others are not disturbed."""
    distributions.add("offload-broken", {PROVIDERS: {"broken": "toy_nothing:Here"}})
    assert main(["providers"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["toy", "offload-toy", "4.2", "toy_commands:Toy"] in lines
    assert any(line[0] == "broken:" and "ModuleNotFoundError:" in " ".join(line) for line in lines if line)
    assert main(["providers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {each["name"]: each for each in found["providers"]}
    assert by_name["toy"] == {
        "name": "toy",
        "target": "toy_commands:Toy",
        "distribution": "offload-toy",
        "version": "4.2",
        "error": "",
    }
    assert "toy_nothing" in by_name["broken"]["error"]
    assert "plain" in {each["name"] for each in found["frameworks"]}


@pytest.mark.parametrize(
    ("findings", "code", "words"),
    [
        ("ok", 0, "ok       seen"),
        ("warning", 0, "warning  seen"),
        ("error", 3, "ERROR    seen"),
        ("", 0, "nothing to check"),
    ],
)
def test_doctor_tells_findings_and_what_to_do(
    findings: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an error makes the exit code 3."""
    configure(f"findings = '{findings}'")
    assert main(["doctor"]) == code
    out = capsys.readouterr().out
    assert words in out
    assert ("-> do this" in out) is bool(findings)


def test_doctor_reports_a_check_that_raises(capsys: pytest.CaptureFixture[str]) -> None:
    """A plugin that breaks its promise is a finding, in JSON too."""
    configure("findings = 'raises'\nunknown = 1")
    assert main(["doctor", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    by_name = {each["name"]: each for each in told["checks"]}
    assert by_name["provider toy"]["findings"] == [
        {"severity": "error", "what": "the check failed: RuntimeError: oh", "todo": ""}
    ]
    assert by_name["configuration offload.toml"]["ok"] is True
    assert "provider.unknown" in by_name["configuration offload.toml"]["findings"][0]["what"]


@pytest.fixture
def sandboxes() -> Path:
    """Three sandboxes of two runs, one of them expired."""
    directory = Path("sandboxes")
    for name in ("r1_a_-60", "r1_b_3600", "r2_c_3600.0"):
        (directory / name).touch()
    return directory


def left(directory: Path) -> list[str]:
    """The names of the sandboxes that are there."""
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    ("arguments", "remaining"),
    [
        (["--run", "r1"], ["r2_c_3600.0"]),
        (["--expired"], ["r1_b_3600", "r2_c_3600.0"]),
        (["--all"], []),
        (["--run", "r3"], ["r1_a_-60", "r1_b_3600", "r2_c_3600.0"]),
    ],
)
def test_reap_terminates_what_was_chosen(
    sandboxes: Path, arguments: list[str], remaining: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of a run, those whose time is over, or all; what it does is listed."""
    assert main(["reap", *arguments, "--yes"]) == 0
    assert left(sandboxes) == remaining
    out = capsys.readouterr().out
    for name in {"r1_a_-60", "r1_b_3600", "r2_c_3600.0"} - set(remaining):
        assert name in out
    assert ("Nothing to reap on toy." in out) is (len(remaining) == 3)


@pytest.mark.parametrize(("answer", "remaining"), [("y\n", 0), ("n\n", 3)])
def test_reap_asks_first(
    sandboxes: Path, answer: str, remaining: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without --yes nothing is terminated unless somebody says so."""
    (tmp_path / "answer").write_text(answer, encoding="utf-8")
    with (tmp_path / "answer").open(encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["reap", "--all"]) == 0
    assert len(left(sandboxes)) == remaining


def test_reap_tries_again_and_says_what_is_left(sandboxes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure that may pass is tried again; what stays makes the exit code 3."""
    (sandboxes / "r4_d_0_x.stubborn").touch()
    assert main(["reap", "--run", "r4", "--yes"]) == 0
    (sandboxes / "r4_e_0_x.stuck").touch()
    assert main(["reap", "--run", "r4", "--yes", "--json"]) == 3
    out = capsys.readouterr().out
    told = json.loads(out[out.index("{") :])
    assert told["terminated"] == []
    assert [each["id"] for each in told["left"]] == ["r4_e_0_x.stuck"]
    assert "no answer" in told["left"][0]["error"]


def test_build_prints_the_id_of_the_image(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout and alone, so that a script can take it; what the build printed goes to stderr."""
    configure(kind="imaging")
    assert main(["build", "--no-cache", "--copy-dir", "sandboxes:data"]) == 0
    out, err = capsys.readouterr()
    assert out == "image-True-1\n"
    assert "[prepare]   step 1" in err


def test_build_without_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    """A provider that makes no images has nothing to do, which is no error."""
    assert main(["build"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "Nothing to do: the provider 'toy' makes no images" in err


def test_a_build_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Infrastructure: exit code 3, with the reason."""
    configure("findings = 'no space left'", kind="imaging")
    assert main(["build"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "no space left" in err
