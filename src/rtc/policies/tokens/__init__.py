"""Residual speculative decoding (RSD) of action tokens: a token policy whose inference time is random by nature."""
