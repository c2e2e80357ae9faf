"""What two processes must agree on: names, errors, limits, placement, record state, wire, machines.

Pure: no I/O, no asyncio, no clock, no randomness, no logging. Imports nothing of ours but itself.
"""
