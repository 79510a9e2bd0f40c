"""exp-delta: action-chunking policies under random, long-tailed inference delay.

Importing the package changes no setting of the process; programs call `rtc.shared.runtime.configure`.
"""
