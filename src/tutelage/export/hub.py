"""Push an exported folder to a model hub, through huggingface_hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.export.files import CARD, MODEL_JSON, check_bytes, read_model_json
from tutelage.export.formats import optional
from tutelage.export.read import line


def check_hub(repo_id: str) -> Any:
    """Make sure, before any work is done, that a repository may have this name and huggingface_hub is there.

    Errors: ``ValueError`` for the name, or naming the extra.

    >>> check_hub("resnet20")
    Traceback (most recent call last):
    ...
    ValueError: a repository is named OWNER/NAME, not 'resnet20'
    """
    if repo_id.count("/") != 1:
        raise ValueError(f"a repository is named OWNER/NAME, not {repo_id!r}")
    hub = optional("huggingface_hub", "hub", "pushing to a hub")
    optional("huggingface_hub.utils", "hub", "pushing to a hub").validate_repo_id(repo_id)
    return hub


def push_to_hub(folder: Path, repo_id: str, token: str | None = None, endpoint: str | None = None) -> str:
    """Upload an exported folder to ``repo_id`` (``OWNER/NAME``), which is made if need be; returns its address.

    Without a ``token`` the one that huggingface_hub knows is used (``HF_TOKEN``, or its login); ``endpoint`` is the
    hub's URL, huggingface.co by default. Only the files that ``model.json`` lists, itself and the card are sent.

    Errors: ``ValueError`` for a folder that is no export, or a name no repository can have; ``storage.Damaged`` for
    one that was altered; ``ConnectionError`` with what the hub said.
    """
    hub = check_hub(repo_id)
    if not (folder / MODEL_JSON).is_file():
        raise ValueError(f"{str(folder)!r} is not an exported model: it has no {MODEL_JSON}")
    listed, _ = read_model_json(folder / MODEL_JSON)
    for name, entry in listed.items():
        check_bytes((folder / name).read_bytes(), entry, folder / name)
    api = hub.HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repo_id, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[*listed, MODEL_JSON, CARD],
            commit_message="Add a model exported by tutelage",
        )
    except ValueError:
        raise
    except Exception as error:  # whatever its network layer raises
        told = (
            error if isinstance(error, OSError) else error.__cause__ or error
        )  # the hub's own words, if it answered
        raise ConnectionError(f"{repo_id} was not pushed: {line(told)}") from error
    return f"{api.endpoint}/{repo_id}"
