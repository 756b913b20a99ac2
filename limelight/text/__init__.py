"""From raw text to tokens.

readers.py        files → texts; decoding.py: bytes → text           tokenizers.py   text → tokens; bytelevel.py
segmentation.py   where words, sentences and paragraphs begin        offsets.py      which characters a token covers
segments.py       the word, sentence, document of every token        contexts.py     documents and question, one text
chat_template.py  what a chat template makes of messages             lookalikes.py   names that look alike
corpora/          the corpora that the default models are trained on
"""
