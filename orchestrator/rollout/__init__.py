"""Carrying a plan out on many hosts."""
