"""The page store: mutable frames of one fixed size, filed under 16-byte names, never torn.

Everything is synchronous and may be called from any thread. Start reading at page_store.py; the
formats on disk are described in manifest_format.py and frame_sums.py.
"""
