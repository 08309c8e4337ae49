"""Bundles: the manifest and the folder of a model, and what was measured of it on this device."""
