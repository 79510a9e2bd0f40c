"""Benchmarks: latency of queries, throughput of the physics, equivalence with the stock engine."""
