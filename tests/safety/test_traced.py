"""What the system is asked for while hostile programs are checked and run.

Python reports every file that it opens, every process and every connection (``sys.addaudithook``).
A hook can't be taken away again, so each program is checked in a process of its own; what that does
while it imports Python code and starts libraries is set aside by its place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRACER = """
import json, os, sys
seen = []

def hook(event, given):
    if event == "open":
        path, mode, flags = given
        if isinstance(path, (str, bytes)):
            wrote = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
            seen.append(("write" if wrote else "read", os.path.realpath(os.fsdecode(path))))
    elif event in ("os.listdir", "os.scandir"):
        where = "." if given[0] is None else given[0]
        if isinstance(where, (str, bytes, os.PathLike)):
            seen.append(("read", os.path.realpath(os.fsdecode(where))))
    elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod",
                   "os.link", "os.symlink", "shutil.rmtree", "shutil.move"):
        # Whole folders are removed by their open descriptors, with names inside them.
        at = given[-1] if isinstance(given[-1], int) and given[-1] > 2 else None
        base = os.readlink(f"/proc/self/fd/{at}") if at and event != "os.chmod" else ""
        for one in given[:2]:
            if isinstance(one, (str, bytes, os.PathLike)):
                where = os.path.join(base, os.fsdecode(one))
                seen.append(("write", os.path.realpath(where)))
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn"):
        seen.append(("process", os.path.basename(str(given[0]))))
    elif event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        seen.append(("network", f"{event} {given[1:]}"))
sys.addaudithook(hook)
from causaldsl.cli import main
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as out:
    json.dump([code, seen], out)
"""


def traced(words: list[str], tmp_path: Path, cache: Path) -> tuple[int, list[tuple[str, str]]]:
    """Exit code of a command, and all that it asked the system for."""
    out = tmp_path / "trace.json"
    env = {**os.environ, "CAUSALDSL_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "TMPDIR": ""}
    env["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", TRACER, str(out), *words], capture_output=True, env=env, text=True
    )
    assert out.is_file(), done.stderr
    code, seen = json.loads(out.read_text())
    return code, [(what, where) for what, where in seen if where != str(out)]


CODE = tuple(
    os.path.realpath(place)
    for place in (sys.prefix, sys.base_prefix, Path(__file__).parents[2], *sys.path)
    if place
)
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/localtime", "/usr/", "/lib", "/bin", "/etc/ld.so")
"""Where libraries look as they start: what machine it is, its clock, fonts, other libraries."""
STARTING = ("/etc/mime.types", "/etc/passwd", "/etc/os-release", "/etc/lsb-release")
"""Python's own modules read these while they start, whatever is run: see the control below."""


def elsewhere(
    seen: list[tuple[str, str]], readable: list[Path], writable: list[Path]
) -> list[tuple[str, str]]:
    """What lies outside of what is allowed."""

    def within(where: str, places: list[Path]) -> bool:
        real = [os.path.realpath(place) for place in places]
        return any(where == place or where.startswith(place + "/") for place in real)

    found = []
    for what, where in seen:
        fine = within(where, writable)
        if what == "read":
            fine |= within(where, readable) or where.startswith((*CODE, *SYSTEM))
        if what == "write":
            fine |= where.startswith("/dev/")
        if what == "process":
            fine = where in ("dot", "graphviz-pure", "lscpu", "uname", "ldconfig", "nvidia-smi")
        if not fine:
            found.append((what, where))
    return found


HOSTILE = {
    "files": """lexicon a = words("/etc/passwd")
lexicon b = phrases("../../../../../../../etc/hostname")
import "/etc/passwd"
pairs q = jsonl("/etc/passwd")
prompts own = corpus("link.txt")
subspace v = file("/etc/shadow")
""",
    "names": 'plot s as "../../out.svg"\nplot s as "/tmp/out.svg"\n',
    "syntax": "let a = $ # \x1b[31m\nlet b = (\n",
    "large": "table t { for l in 0..1000000000: a = l }\n",
}


@pytest.fixture(scope="module")
def control(world: Path, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """What a check of the most harmless program asks for."""
    tmp = tmp_path_factory.mktemp("control")
    path = world / "control.cpatch"
    path.write_text('import "prompts.cpatch"\n')
    code, seen = traced(["check", str(path)], tmp, tmp / "cache")
    assert code == 0
    return set(seen)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_check_reads_nothing_elsewhere(
    name: str, world: Path, tmp_path: Path, control: set[tuple[str, str]]
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("mine\n")
    (world / "link.txt").unlink(missing_ok=True)
    (world / "link.txt").symlink_to(secret)
    path = world / f"hostile_{name}.cpatch"
    path.write_text('import "prompts.cpatch"\n' + HOSTILE[name])
    cache = tmp_path / "cache"
    code, seen = traced(["check", str(path)], tmp_path, cache)
    assert code == 2
    assert ("read", os.path.realpath(path)) in seen  # the hook sees what is opened
    found = elsewhere(seen, [world], [cache, tmp_path / "tmp"])
    assert [one for one in found if one not in control] == []
    for what, where in found:  # and what Python itself asks for is nothing of this kind
        assert what == "read"
        assert where in STARTING
    assert not any(where.endswith(("secret.txt", "shadow", "hostname")) for _, where in seen)


def test_a_run_writes_into_its_folder_alone(
    world: Path, tmp_path: Path, control: set[tuple[str, str]]
) -> None:
    path = world / "hostile_run.cpatch"
    path.write_text(
        'import "prompts.cpatch"\n'
        "subspace v = random(resid_post[1] @ END)\n"
        "sweep s on flip.test { for l in layers: patch resid_post[l] @ END report fldd }\n"
        'plot s as "[red]<b>$(touch x)`id`;.svg"\nrender s as "\'&|.pdf"\n'
    )
    cache, out = tmp_path / "cache", tmp_path / "out" / "run"
    code, seen = traced(["run", str(path), "--out", str(out)], tmp_path, cache)
    assert code == 0
    assert any(what == "write" and where.startswith(str(out.parent)) for what, where in seen)
    own = (".config/matplotlib", ".cache/matplotlib", ".reportlab_mods", ".reportlab_settings")
    libraries = [Path.home() / name for name in own]  # where these libraries keep what is theirs
    libraries += Path("/tmp").glob("torchinductor_*")
    found = elsewhere(seen, [world], [cache, tmp_path / "tmp", out.parent, *libraries])
    assert [one for one in found if one not in control] == []
    assert sorted(p.name for p in out.parent.iterdir()) == ["run"]


CODE_OF_ITS_OWN = """
import pathlib
pathlib.Path("{mark}").write_text("ran")
from transformers import LlamaConfig as Config, LlamaForCausalLM as Model
"""


def test_a_model_s_own_code_never_runs(world: Path, tmp_path: Path) -> None:
    from shutil import copytree

    mark = tmp_path / "mark"
    for kind, code in (("llama", 0), ("strange_model", 3)):
        folder = copytree(world / "tiny-llama", tmp_path / kind)
        (folder / "own.py").write_text(CODE_OF_ITS_OWN.format(mark=mark))
        config = json.loads((folder / "config.json").read_text()) | {
            "model_type": kind,
            "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["auto_map"] = {"AutoTokenizer": ["own.Tokens", None]}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        words = [sys.executable, "-m", "causaldsl", "run", str(world / "prompts.cpatch")]
        words += ["--set", f"model={folder}", "--out", str(tmp_path / f"run-{kind}")]
        env = {**os.environ, "CAUSALDSL_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            words, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env
        )
        assert done.returncode == code, done.stderr
        assert not mark.exists()
        if code:
            assert "code of its own, which is never run" in done.stderr
