"""LIBERO in MuJoCo: image policies with chunks of 8 actions by OpenVLA-OFT's protocol, and tasks on state observations.

Nothing here needs LIBERO until a simulation is opened (`rtc.worlds.libero.simulator`, `rtc.worlds.libero.state`).
"""
