"""Sinks: where results of live video go."""
