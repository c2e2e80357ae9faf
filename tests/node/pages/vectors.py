"""What others have written: records and a snapshot of the published format, byte for byte."""

from __future__ import annotations

AB, CD = b"\xab" * 16, b"\xcd" * 16
SET_AB = bytes.fromhex("4d4c47311800000001" + "ab" * 16 + "0000000000000000" + "fa85115a")
DELETE_AB = bytes.fromhex("4d4c47311000000002" + "ab" * 16 + "c053d8f2")
SET_7 = bytes.fromhex(
    "4d4c47311800000001000102030405060708090a0b0c0d0e0f0700000000000000d63ef06f"
)
SNAPSHOT_6 = bytes.fromhex(
    "415254534e4d4e46 0600 02000000 0000 0300000000000000"
    + " ab" * 16 + "0000000000000000" + "cd" * 16 + "0200000000000000"
)  # fmt: skip
