"""Similarities and matrices → matplotlib figures."""
