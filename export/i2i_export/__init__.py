"""From a checkpoint to a bundle: `export_bundle` in `pipeline.py` tells the whole story."""
