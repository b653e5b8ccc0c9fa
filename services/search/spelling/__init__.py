"""Spelling correction against the shop's own words."""
