"""How models are trained: recipes, the loop, resumable run folders, several processes, the tables of the paper."""
