"""What a learner may skip: how a run is kept, shown and told of. Nothing in here imports a file in front."""
