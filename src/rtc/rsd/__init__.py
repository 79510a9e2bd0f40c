"""Residual speculative decoding (RSD) of action tokens: a token policy whose inference time is random by nature.

- `rtc.rsd.rfsq`: chunks to tokens and back, by residual finite scalar quantisation;
- `rtc.rsd.policy`: the main model and its draft, over the tokens of the layers;
- `rtc.rsd.engine`: speculative decoding, exact, greedy or relaxed;
- `rtc.rsd.training`: how all of them are trained;
- `rtc.rsd.arms`: the ways to decode that are compared.
"""
