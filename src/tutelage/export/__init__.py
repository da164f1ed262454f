"""Take a trained model away: weights, torch.export and ONNX, each with its contract inside; and use it again."""

from tutelage.artifacts.metadata import Contract
from tutelage.export.find import Source, find_model
from tutelage.export.hub import push_to_hub
from tutelage.export.opened import Opened, classify, open_file, open_folder, open_model
from tutelage.export.write import Exported, export_model

__all__ = [
    "Contract",
    "Exported",
    "Opened",
    "Source",
    "classify",
    "export_model",
    "find_model",
    "open_file",
    "open_folder",
    "open_model",
    "push_to_hub",
]
