"""Control planes, edges, clusters and engines, all of real parts."""
