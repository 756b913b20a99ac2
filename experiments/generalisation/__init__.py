"""What is general training worth for a special task with few labels?"""
