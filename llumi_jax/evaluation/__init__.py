"""How good is it: held-out pairs, language, people and safety. Nothing here needs a network."""
