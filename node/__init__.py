"""Keeps bytes: record stores, the node service, its server, and the client that speaks to it.

Imports `ring`, never `gateway`. Everything it does to disk, clock and network goes through a seam.
"""
