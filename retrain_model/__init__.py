"""The weekly job: snapshot, embed, fit, rank, evaluate, gate, promote or keep."""
