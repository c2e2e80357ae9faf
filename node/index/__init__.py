"""The index of the page record store: where each value lies, checkpoints of the table."""
