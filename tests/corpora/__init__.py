"""Texts that try to do harm, by kind."""
