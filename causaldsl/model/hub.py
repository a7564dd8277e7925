"""Models by their name on the Hugging Face hub, kept in huggingface_hub's own cache.

Every call that could use the network is preceded by one short look whether there is any: without
it, huggingface_hub would retry each file for some twenty seconds. ``huggingface_hub`` is imported
inside the functions, because it is slow and reads HF_HUB_OFFLINE when it is imported.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causaldsl.diagnostics import Mistake
from causaldsl.model.cache import Progress, remembered_sha256, sha256
from causaldsl.model.chat import TEMPLATE
from causaldsl.model.folders import weight_files
from causaldsl.model.manifest import git_sha1
from causaldsl.model.tokenizer_files import FAST, SETTINGS, SLOW

_SECONDS = 3.0
_DESCRIPTION = [
    "config.json",
    "generation_config.json",
    FAST,
    SETTINGS,
    "special_tokens_map.json",
    "added_tokens.json",
    TEMPLATE,
    "vocab.json",
    "merges.txt",
]
_SAFETENSORS = ["*.safetensors", "*.safetensors.index.json"]
_PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


@dataclass(frozen=True)
class HubName:
    """``owner/name``, or ``owner/name@revision``: a branch, a tag or a commit."""

    repo: str
    revision: str | None = None

    @classmethod
    def parse(cls, name: str) -> HubName:
        """The parts of a name. Raises :class:`Mistake` for one that ends in its ``@``."""
        repo, at, revision = name.partition("@")
        if at and not revision:
            message = f"{name} names no revision behind its `@`"
            raise Mistake("bad-revision", message, f"write {repo}@main, or {repo} alone")
        return cls(repo, revision or None)

    def __str__(self) -> str:
        return self.repo + (f"@{self.revision}" if self.revision else "")


def cached_snapshot(name: HubName) -> Path | None:
    """The folder of a model that the cache holds with configuration and tokenizer, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name.repo, "config.json", revision=name.revision)
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if any((folder / file).exists() for file in (FAST, *SLOW)) else None


def fetch_description(name: HubName, progress: Progress, hint: str) -> Path:
    """Fetch configuration and tokenizer. Raises :class:`Mistake`, with ``hint``, if that fails."""
    _require_network(name, hint)
    progress(f"fetching the configuration and tokenizer of {name} from the hub")
    return _with_tokenizer(name, _fetch(name, _DESCRIPTION, hint), hint)


def fetch_weights(name: HubName, progress: Progress, hint: str, anew: bool = False) -> Path:
    """Fetch all that running needs, if the cache lacks it; with ``anew``, in any case.

    Raises :class:`Mistake`, with ``hint``, if that fails.
    """
    cached = cached_snapshot(name)
    if cached is not None and weight_files(cached) and not anew:
        return cached
    _require_network(name, hint)
    progress(f"fetching the weights of {name} from the hub")
    folder = _fetch(name, [*_DESCRIPTION, *_SAFETENSORS], hint, anew)
    if not weight_files(folder):
        folder = _fetch(name, [*_DESCRIPTION, *_PICKLED], hint, anew)
    return _with_tokenizer(name, folder, hint)


def damaged(snapshot: Path, fully: bool = False) -> Iterator[str]:
    """Files of a snapshot that are not what the hub gave; ``fully`` hashes all of them anew.

    Its files are links to what is called by its own hash: SHA-256 for weights, git's for the rest.
    """
    for path in sorted(snapshot.iterdir()):
        blob = path.resolve()
        if path.is_symlink() and not blob.is_file():
            yield f"{path.name} is missing"
        elif path.is_symlink() and len(blob.name) == 64:
            found = sha256(blob) if fully else remembered_sha256(blob)
            if found != blob.name:
                yield f"{path.name} holds other bytes than the hub gave"
        elif path.is_symlink() and len(blob.name) == 40 and git_sha1(blob) != blob.name:
            yield f"{path.name} holds other bytes than the hub gave"


def _with_tokenizer(name: HubName, folder: Path, hint: str) -> Path:
    """What a tokenizer is made from is fetched only where it is no single file."""
    return folder if (folder / FAST).exists() else _fetch(name, list(SLOW), hint)


def snapshot_fingerprint(name: HubName, folder: Path) -> str:
    """A snapshot's folder is named by its commit, which fixes every file, fetched yet or not."""
    return f"hub-{name.repo}-{folder.name}"


def reachable() -> bool:
    """Whether the hub answers within a few seconds (and use of it is not switched off)."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answers: queue.Queue[bool] = queue.Queue()
    # In a thread, since looking up a host's name has no timeout of its own.
    threading.Thread(target=_knock, args=(constants.ENDPOINT, answers), daemon=True).start()
    try:
        return answers.get(timeout=_SECONDS + 1.0)
    except queue.Empty:
        return False


def absent(name: HubName, what: str, hint: str) -> Mistake:
    """The mistake for a model that can't be had here and now."""
    from huggingface_hub import constants

    once = "without HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else "with a network"
    way_out = f"run once {once}, or name a local folder that holds its config.json"
    joined = f"{hint} Or {way_out}" if hint.endswith("?") else f"{hint}; or {way_out}"
    return Mistake("model-absent", f"{name} {what}", joined)


def _require_network(name: HubName, hint: str) -> None:
    from huggingface_hub import constants

    if not reachable():
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub is out of reach"
        raise absent(name, f"is not on this machine, and {why}", hint)


def _knock(endpoint: str, answers: queue.Queue[bool]) -> None:
    import huggingface_hub.utils

    utils: Any = huggingface_hub.utils
    try:
        utils.get_session().head(endpoint, timeout=_SECONDS)
    except Exception:  # whatever the HTTP library in use raises: the hub did not answer
        answers.put(False)
    else:
        answers.put(True)


def _fetch(name: HubName, patterns: list[str], hint: str, anew: bool = False) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with _no_bars():
            where = snapshot_download(
                name.repo,
                revision=name.revision,
                allow_patterns=patterns,
                etag_timeout=_SECONDS,
                force_download=anew,
            )
    except GatedRepoError:
        raise Mistake(
            "model-absent",
            f"the hub gives {name} only to those who accepted its terms",
            "accept them on the model's page and log in with `hf auth login`",
        ) from None
    except RevisionNotFoundError:
        message = f"{name.repo} has no revision {name.revision} on the hub"
        help = "name a branch, a tag or a commit of the model's page"
        raise Mistake("model-absent", message, help) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise Mistake("model-absent", f"there is no model {name.repo} on the hub", hint) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise absent(name, f"could not be fetched: {reason}", hint) from error
    return Path(where)


@contextmanager
def _no_bars() -> Iterator[None]:
    import huggingface_hub.utils

    utils: Any = huggingface_hub.utils
    if utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()
