"""Online data mixing: how much a run trains on each cell follows what the model shows."""
