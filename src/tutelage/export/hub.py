"""Push an exported folder to a model hub, through huggingface_hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.export.formats import import_optional
from tutelage.export.model_json import CARD_FILE, MODEL_JSON, check_bytes, check_complete, read_model_json
from tutelage.export.read import one_line


def check_hub(repo_id: str) -> Any:
    """Check, before any work is done, that huggingface_hub is installed and that a repository may have this name.

    Errors: ``ValueError`` for the name, or naming the extra.

    >>> check_hub("resnet20")
    Traceback (most recent call last):
    ...
    ValueError: a repository is named OWNER/NAME, not 'resnet20'
    """
    if repo_id.count("/") != 1:
        raise ValueError(f"a repository is named OWNER/NAME, not {repo_id!r}")
    hub = import_optional("huggingface_hub", "hub", "pushing to a hub")
    import_optional("huggingface_hub.utils", "hub", "pushing to a hub").validate_repo_id(repo_id)
    return hub


def push_to_hub(folder: Path, repo_id: str, token: str | None = None, endpoint: str | None = None) -> str:
    """Upload an exported folder to the repository ``repo_id`` (``OWNER/NAME``) and return its URL.

    The repository is created if it does not exist. Without a ``token``, huggingface_hub uses its own (``HF_TOKEN`` or
    its login); ``endpoint`` is the hub's URL, huggingface.co by default. Only ``model.json``, the files that it lists
    and the model card are uploaded.

    Errors: ``ValueError`` for a folder that is no export, or a name that no repository can have; ``storage.Damaged``
    for an export that was altered; ``ConnectionError`` with the hub's reply.
    """
    hub = check_hub(repo_id)
    if not (folder / MODEL_JSON).is_file():
        raise ValueError(f"{str(folder)!r} is not an exported model: it has no {MODEL_JSON}")
    check_complete(folder)
    entries, _ = read_model_json(folder / MODEL_JSON)
    for name, entry in entries.items():
        check_bytes((folder / name).read_bytes(), entry, folder / name)
    api = hub.HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repo_id, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[*entries, MODEL_JSON, CARD_FILE],
            commit_message="Add a model exported by tutelage",
        )
    except ValueError:
        raise
    except Exception as error:  # the network layer raises types of its own
        # The hub's reply, if there was one, is in the error itself or in its cause.
        reply = error if isinstance(error, OSError) else error.__cause__ or error
        raise ConnectionError(f"{repo_id} was not pushed: {one_line(reply)}") from error
    return f"{api.endpoint}/{repo_id}"
