"""The corpora that the default models and the example recipes are trained on, built from public packages.

registry.py  every corpus by its name    fetch.py       download, unpack, split, write
general.py   English prose and a manual  help_pages.py  LibreOffice's help in two languages    mails.py  mails, spam
"""
