"""Teacher-student training on PyTorch."""
