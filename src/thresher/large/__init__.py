"""Recordings and scores that need not fit into memory: scored and selected part by part, on one machine or many.

What runs on a part is what runs on the whole elsewhere (`thresher.replay`, the selectors), so the results are the same bits.
"""
