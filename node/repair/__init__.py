"""Repair: compare with the other keepers, copy what is missing here, tell them what they miss."""
