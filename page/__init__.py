"""The page on which one draws a digit: all of it, and nothing else."""
