def write(figures, path, options):
    path.write_text("x")
