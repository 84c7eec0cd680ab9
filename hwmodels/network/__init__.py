"""Model networks: topologies, routes, flows that share links, collectives."""
