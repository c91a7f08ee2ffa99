"""A `Report` to text; outputs read findings and nothing else."""
