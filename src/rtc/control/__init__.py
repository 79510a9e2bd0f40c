"""Control: how a policy's chunks are executed in an environment, and what is noted down of it."""
