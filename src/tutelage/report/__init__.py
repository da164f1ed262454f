"""Text and pictures of typed results; nothing is computed here."""
