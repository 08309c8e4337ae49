"""`python -m benchmarks [CHECKPOINT]`: everything, results as JSON in out/bench/."""

import sys

from benchmarks import cold, engines, overhead

if __name__ == "__main__":
    for part in (overhead, engines, cold):
        part.main(sys.argv[1:])
        print()
