"""One page that holds everything: figures, plots and pictures of our own clips."""
