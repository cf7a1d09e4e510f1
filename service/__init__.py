"""Manage Orders: find, confirm and, when the window closes, cancel the orders of a marketplace."""
