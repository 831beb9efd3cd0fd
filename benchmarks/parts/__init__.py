"""What is measured: one part a file, each with a function `measure`."""
