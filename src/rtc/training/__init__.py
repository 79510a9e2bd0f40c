"""Training: experts, their demonstrations, and the policies cloned from them."""
