"""What a study's features are worth on another dataset."""
