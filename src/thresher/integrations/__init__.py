"""Thresher in other libraries' training loops: one small file each, which only calls the Recorder."""
