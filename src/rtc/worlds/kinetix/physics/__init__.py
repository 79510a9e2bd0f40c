"""Kinetix's physics, specialised to one level: the same steps from a program that holds only what the level needs.

The stock engine simulates a scene of 12 polygons and 4 circles with all their pairs, whatever the level uses. Here the
level's constants are constants of the compiled program: bodies that never move, pairs that can never touch and joints
that are not there cost nothing; the environment axis is last, so that every operation is a vector operation; contacts
are compacted. What the stock engine computes, and the order in which it solves contacts, is kept: trajectories agree
until rounding errors, which a chaotic system amplifies, set them apart.
"""

from rtc.worlds.kinetix.physics.build import Unsupported as Unsupported
from rtc.worlds.kinetix.physics.build import build_scene as build_scene
from rtc.worlds.kinetix.physics.env import FastEnv as FastEnv
from rtc.worlds.kinetix.physics.scene import Scene as Scene
