"""Simulated centres, the detectors' answers to them, and what others would answer."""
