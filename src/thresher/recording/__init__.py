"""What the Recorder is made of, in the order in which a batch passes through it.

`arguments` is what a loop passes, `intake` checks each batch once, `pending` holds batches that wait on a GPU, `memory` is
what is kept of an epoch. On several ranks, `outbox` and `collect` bring rows to the rank that owns their sample; `gather`
brings back the scores of all.
"""
