"""What a good engineer would write who follows the published notebook, or would install: one alternative a file."""
