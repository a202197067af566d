"""The life of a job: accepted, stored, run, its results and its cost."""
