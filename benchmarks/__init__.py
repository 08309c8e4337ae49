"""Latency figures. Leave the machine alone while they run: contended figures are wrong, ratios too.

`make bench` runs all of it; `python -m benchmarks.overhead` (engines, cold) runs one part.
"""
