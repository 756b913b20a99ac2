"""The page: look at attention as at a map, in a browser, in a notebook, or in one file to send to a colleague.

    the page asks, a source answers; CONTRACT.md says exactly what

envelope.py  an answer as bytes            questions.py  which questions there are, and how they are written
sides.py     a text with its units         attentions.py which matrices belong together
whole.py     what one walk over a whole matrix keeps     cells.py  its fold for maps
rows.py      one word's row or column      strongest.py  the strongest of all rows      maps.py  tiles
subject.py   answers every question        making.py     subjects out of looks, watches, readings, explanations
site.py      the routes of a server        door.py, library.py, typed.py  who may ask, what is shown, what is typed in
file.py      one offline file              filling.py, pack.py  which answers go in, within how many bytes
"""
