"""Measurements that back the README's figures; see README.md beside this file."""
