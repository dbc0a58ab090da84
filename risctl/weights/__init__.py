"""Reads weight files of other frameworks as arrays by name; knows no system."""
