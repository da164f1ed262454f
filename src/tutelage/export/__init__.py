"""Export a trained model as weights, a torch.export program and ONNX, and load what was exported."""

from tutelage.artifacts.metadata import ModelMetadata
from tutelage.export.find import FinishedModel, find_model
from tutelage.export.hub import push_to_hub
from tutelage.export.load import LoadedModel, classify, load_file, load_folder, load_model
from tutelage.export.write import ExportResult, export_model

__all__ = [
    "ExportResult",
    "FinishedModel",
    "LoadedModel",
    "ModelMetadata",
    "classify",
    "export_model",
    "find_model",
    "load_file",
    "load_folder",
    "load_model",
    "push_to_hub",
]
