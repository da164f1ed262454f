"""A trained model on disk: the only package that knows its files."""
