"""All durable writes: each file is written completely or not at all, and verified when it is read back.

A file appears under its name only after its bytes are on disk (unique temporary file, flush, fsync, replace,
directory fsync). A folder *exists* as a model or checkpoint only once its ``manifest.json``, written last, lists the
size and SHA-256 of every file in it. Tensors are safetensors, the rest is JSON; nothing is pickled.
"""

from tutelage.storage.checkpoint import Checkpoint, checkpoints, newest_checkpoint, save_checkpoint
from tutelage.storage.errors import Damaged, InUse, NewerFormat, NoSpace
from tutelage.storage.files import (
    explain_write_errors,
    json_bytes,
    make_folder,
    remove_file,
    remove_temporary_files,
    sync_written,
    write_at,
    write_bytes,
)
from tutelage.storage.folders import FORMAT, MANIFEST, commit, is_finished, read_listed, read_manifest, remove, verify
from tutelage.storage.locks import lock
from tutelage.storage.outputs import is_regular, write_output
from tutelage.storage.regular import MAX_JSON, open_own, open_regular, read_regular
from tutelage.storage.system import sync
from tutelage.storage.tensors import read_tensor_notes, read_tensors, tensor_bytes, tensors_in

__all__ = [
    "FORMAT",
    "MANIFEST",
    "MAX_JSON",
    "Checkpoint",
    "Damaged",
    "InUse",
    "NewerFormat",
    "NoSpace",
    "checkpoints",
    "commit",
    "explain_write_errors",
    "is_finished",
    "is_regular",
    "json_bytes",
    "lock",
    "make_folder",
    "newest_checkpoint",
    "open_own",
    "open_regular",
    "read_listed",
    "read_manifest",
    "read_regular",
    "read_tensor_notes",
    "read_tensors",
    "remove",
    "remove_file",
    "remove_temporary_files",
    "save_checkpoint",
    "sync",
    "sync_written",
    "tensor_bytes",
    "tensors_in",
    "verify",
    "write_at",
    "write_bytes",
    "write_output",
]
