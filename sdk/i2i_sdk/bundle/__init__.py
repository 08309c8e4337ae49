"""Bundles: the folder of a model's variants, and the manifest that describes them."""
