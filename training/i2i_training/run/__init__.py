"""Runs: what a training run keeps, reports and resumes."""
