"""What the control socket serves, one module for each family of objects, each with only the parts that it needs."""
