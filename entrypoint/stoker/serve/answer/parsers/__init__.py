"""From a model's own way of calling tools and of thinking aloud to events: one small module a family.

Each parser works through the text once, as it comes, and gives arguments out as they come.
"""
