"""exp-delta: action-chunking policies under random, long-tailed inference delay.

Importing the package applies its process-wide JAX settings (`rtc.runtime`): some of them, the number of CPU devices
first, must be made before any module of the simulator starts JAX.
"""

from rtc.shared import runtime

runtime.configure()
