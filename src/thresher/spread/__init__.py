"""What a recording on several ranks adds: rows on their way to the rank that owns their sample, and scores of all."""
