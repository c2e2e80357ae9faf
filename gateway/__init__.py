"""Speaks to clients and drives quorums; keeps no state that a restart could lose.

Imports `ring`, and of `node` only `node.client` and `node.transport`; never a node's store.
"""
