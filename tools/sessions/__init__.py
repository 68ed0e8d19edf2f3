"""The sessions of nox that are not in noxfile.py: each module adds its own when it is imported."""
