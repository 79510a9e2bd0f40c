"""Benchmarks: latency of queries and of token decoding, throughput, equivalence with the stock engine."""
