"""Condensed sets from and for other programs."""
