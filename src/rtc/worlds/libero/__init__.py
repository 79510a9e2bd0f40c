"""The LIBERO path: image policies with chunks of 8 actions in a MuJoCo simulation, by OpenVLA-OFT's protocol.

Nothing here needs LIBERO until a simulation is opened (`rtc.worlds.libero.simulator`).
"""
