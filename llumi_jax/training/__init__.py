"""Recipes, stages, steps and everything that happens around them."""
