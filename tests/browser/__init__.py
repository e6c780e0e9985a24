"""Scenarios in a real browser."""
