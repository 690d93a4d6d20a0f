"""Smoke benchmarks, baselines and verdicts."""
