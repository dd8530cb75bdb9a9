"""What acts around a training: freezing, similarity, pictures and the record in the run folder."""
