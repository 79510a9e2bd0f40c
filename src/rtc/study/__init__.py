"""Studies: what is evaluated, the cells that hold it, and their statistics."""
