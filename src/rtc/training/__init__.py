"""Training: experts, their demonstrations, and the flow and token policies cloned from them."""
