"""What joins milepost to outside tools: a module for each, imported by its path alone."""
