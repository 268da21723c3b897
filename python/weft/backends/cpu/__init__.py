"""Entries over the native extension."""
