"""Looking: one answer, documents, a conversation: what a model attended to.

look.py        an answer, and what each of its words attends to    render.py            for the terminal, as a picture
documents.py   documents with a question, a conversation           documents_render.py  the same of documents
documents_look.py  what a look at documents returns               windows.py           texts beyond a model's window
head_atlas.py  the atlas of a model's heads                        load.py              a reader by a model's name
readers.py     what a model that reads documents must give; limelight_reader.py, hugging_face_reader.py
pretrained.py, unwrap.py  a transformers model by its folder, or inside pipelines, adapters, wrappers
word_alignment.py         links between the tokens of given pairs, `0-0 1-2`
"""
