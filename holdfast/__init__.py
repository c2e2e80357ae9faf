"""What people type and import: the `holdfast` command and the Python client.

Speaks HTTP to a gateway and starts the other processes; `ring`, `node` and `gateway` are internal.
"""
