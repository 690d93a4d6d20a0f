"""What happened: runs, hosts, transitions, benchmarks."""
