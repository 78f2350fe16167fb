"""Recorded dynamics on disk: the store (`writer`, `reader`, `layout`) and foreign formats (`official`)."""
