"""How records leave a node for good: trash, purge of tombstones, collection of chunks."""
