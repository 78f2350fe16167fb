"""Thresher in the training loops of others: one small file each, which only calls the Recorder."""
