"""Support: models, cameras, baselines and peaks that benchmarks measure with."""
