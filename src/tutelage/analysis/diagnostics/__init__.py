"""The diagnostics that the papers use, as typed records computed from stored predictions and logits."""
