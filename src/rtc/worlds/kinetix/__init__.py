"""Kinetix: its levels as world files, their pictures, and the physics specialised to a level."""
