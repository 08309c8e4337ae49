"""Dialects: checkpoint files of other repositories."""
