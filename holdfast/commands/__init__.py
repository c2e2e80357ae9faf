"""The commands, one module each; holdfast/cli.py puts them together."""
