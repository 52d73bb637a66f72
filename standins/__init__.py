"""Outside services as small servers on this machine: for the demo without a key, for tests and benchmarks."""
