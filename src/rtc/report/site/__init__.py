"""The static site: pages of docs/ and exp_runs/, the reference, the data of the explorer, and where they go."""
