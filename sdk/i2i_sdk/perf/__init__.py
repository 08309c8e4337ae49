"""Performance: timing, statistics, records of benchmarks, and what is worth choosing."""
