"""The HTTP door: what clients, load balancers and people with curl speak to.

Everything here stands before a `ring.seams.BlobStore` and knows nothing of what is behind it.
Start reading at server.py.
"""
