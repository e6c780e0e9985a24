"""Condensed sets made smaller: training dynamics, scores of every patch, and rules that choose by them (YOCO)."""
