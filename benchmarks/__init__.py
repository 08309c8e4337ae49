"""The suite of benchmarks: `python -m benchmarks` runs the short set, `python -m benchmarks.PART` one part.

What each part measures, and how a run becomes a reference, is in benchmarks/README.md. Leave the machine
alone while they run: a busy one is noticed, and its figures are marked.
"""
