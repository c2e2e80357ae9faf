"""Scrub: every copy is read again within a period, and every large blob hashed as a whole."""
