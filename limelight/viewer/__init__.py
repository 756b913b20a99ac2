"""The page: look at attention as at a map, in a browser, in a notebook, or in one file to send to a colleague.

    the page asks, a source answers; PROTOCOL.md says exactly what

api.py       show, save_html            subject.py   what a page is about: answers every request
protocol/    the wire format            compute/     every answer, computed
builders/    a subject from a look, from matrices, from a reading
serve/       the HTTP server            export/      one offline file, within a budget of bytes
notebook.py  the page in a cell         template.py  the HTML around the page's script and style
"""
