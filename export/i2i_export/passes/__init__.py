"""Changes to a module or a graph that keep its pictures: what engines run better, or run at all."""
