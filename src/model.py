"""The flow policy under its published name."""

from rtc.policies.flow import FlowPolicy, get_prefix_weights
from rtc.policies.mixer import ModelConfig

__all__ = ["FlowPolicy", "ModelConfig", "get_prefix_weights"]
