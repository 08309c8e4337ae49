"""Reports: the page, curves and picture sheets of a run."""
