"""Mangled inputs of every kind, in process, and what must hold whatever they are: python -m fuzz."""
