from i2i_export.job import Checked, Job, Target, run_here

__all__ = ["Checked", "Job", "Target", "run_here"]
