"""Exact ranks without a sort: the first samples of a ranking by mergeable histograms, over one block or thousands."""
