"""Does attention between two languages find the links that people set?"""
