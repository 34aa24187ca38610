"""How an explanation is made: attribution along the joint path of input and memory, other methods, figures."""
