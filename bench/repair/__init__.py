"""`python -m bench repair`: what it costs nodes to compare, and how soon a lost disk is whole."""
