"""What the columns that many tables share mean. Goes into their metadata."""

MEANINGS = {
    "model": "name of the model in the configuration",
    "checkpoint": "name of the checkpoint",
    "experiment": "name of the experiment in the configuration",
    "occurrence": "index of the prompt in the experiment file, or of the drawn word, from 0; of "
    "whole texts that of the token, counted over all of them",
    "label": "label of the prompt in the experiment file, or the drawn word",
    "word": "the target as it is written in the text; of whole texts the word, number or mark that "
    "the token is part of, empty for special and unknown tokens and for spaces alone",
    "text": "the text, without special tokens; with chat_template as the model is given it",
    "token_ids": "vocabulary indices of the whole text, special tokens included",
    "tokens": "vocabulary entries of the whole text",
    "first": "position of the target's first token, from 0",
    "last": "position of the target's last token, from 0",
    "n_tokens": "number of tokens of the target",
    "word_part": "of whole texts, whether the token is the whole word, the first of its tokens, or "
    "a later one; null: the token of no word",
    "special_tokens": "how many tokens of the text were added by the tokenizer or the BOS setting",
    "pair": "label of the two texts that are compared with each other",
    "words_before": "words of the text before that in which the target ends, as spaces part them; "
    "0 for special tokens that are added, also behind the text",
    "sense": "sense of the target in the experiment file; null: it names none",
    "token": "vocabulary entry whose embedding stands for the target",
    "position": "position of the token in the text, from 0",
    "site": "where the residual stream is read: resid (between blocks), resid_mid (attention "
    "added, before the MLP and before any post-norm; in blocks that add attention and MLP in "
    "parallel: block input + attention output), final_norm (after the model's last norm)",
    "layer": "blocks passed by the stream (resid, final_norm); index of the block (resid_mid)",
    "hidden": "the state: a float vector of d_model, in the model's own units",
    "chance": "what adjusted, scaled, centred and standardised are beyond: texts, those of the "
    "baseline; null: no baseline",
    "adjusted": "the cosine minus chance, that of random pairs at the same place; where chance "
    "differs, compare `scaled` instead; null: no baseline",
    "scaled": "adjusted / (1 - chance): 0 as in random pairs, 1 in equal directions; null: no "
    "baseline, or random pairs have 1",
    "matched": "scaled with the chance of the experiment itself: the mean over its other tokens in "
    "other texts, of the same class of words and the same band of positions (0, 1, 2 to 3, 4 to 7, "
    "and so on), or where these make fewer than 100 pairs of any position behind the first, or of "
    "any class there; null: too few still",
    "centred": "the cosine of the states minus the mean state of the baseline's tokens at the same "
    "place; null: no baseline",
    "standardised": "the cosine of the states with every dimension as a z-score over the tokens of "
    "the baseline at the same place; null: no baseline",
    "depth": "number of blocks of the model",
}
