"""Gymnasium: any of its environments with continuous actions, and two tasks of it as worlds of the benchmark."""

from rtc.worlds.gym.environment import GymEnvironment, Solved

__all__ = ["GymEnvironment", "Solved"]
