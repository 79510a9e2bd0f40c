"""The experiments of the benchmark, as studies."""
