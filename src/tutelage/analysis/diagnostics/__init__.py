"""The measurements of the papers: typed records from finished models."""
