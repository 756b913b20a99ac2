"""The held-out parts of the default corpora, as files in the repository.

The numbers on the default models' cards are measured on these files, so that measuring needs no download.
No model has seen them: they are the test parts that `limelight.text.corpora.registry` splits off by a hash.

- `pronounce.test.tsv`: letters<TAB>sounds; a word with several pronunciations has several rows;
- `translate-en-de.test.tsv`: English<TAB>German paragraphs of pages that are not in training;
- `translate-en-de.test-clean.tsv`: those of them that share no eight words in a row with training.

They are rebuilt by `python -m benchmarks.heldout`.
"""
