"""Whether a talking face was made or its mouth remade."""
