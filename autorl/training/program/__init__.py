"""The user's own trainer as a backend: a function of theirs (`function`), or any program (`command`).

Either says how well it does whenever it likes (`reports`); what it says is made the study's evaluation points.
"""
