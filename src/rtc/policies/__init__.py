"""Policies: networks that make chunks, and their checkpoints."""
