"""Recipes by model and machine: each file has a get_config()."""
