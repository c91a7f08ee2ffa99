"""What one run tells the next: baselines and suppressions."""
