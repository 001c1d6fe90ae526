"""A second implementation of routing in NumPy, to compare `switchyard route` with.

It shares no code with the product. T tokens, E experts, C columns of a decision, K experts wanted per
token. Ties go to the lower index throughout.
"""
