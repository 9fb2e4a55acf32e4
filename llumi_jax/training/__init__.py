"""From a recipe to trained stages: data to device, steps, checkpoints and what people see of it."""
