"""From a model's own way of calling tools and of reasoning to events: one small module per family.

Each parser works through the text once, as it comes, and gives arguments out as they come.
"""
