"""How each figure is read, for the captions of the report and for the manual.

Not in the catalogue, which every rule reads: a better sentence must not make a result stale.
"""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """How one kind of figure is read, in reStructuredText that is Markdown, too.

    Attributes
    ----------
    axes: what runs across and upwards, with units.
    marks: what a panel, a line, a colour, a band or a cell is.
    values: what a high and what a low value means.
    compared: what a value is to be held against: a control, a baseline or chance.
    interval: what bands and bars are over; where there are none, why.
    """

    axes: str
    marks: str
    values: str
    compared: str
    interval: str


_LAYER = (
    "Across: layer of the residual stream, from 0, the embedding, to the depth, the last block's "
    "output. "
)
_SITE = "Across: layer, or block where states are inside the blocks; the axis says which. "
_BLOCK = "Across: block, from 0; block l turns layer l into layer l + 1. "
_DEPTH = (
    "Across: layer as a fraction of the model's depth, so that models of different depth can be "
    "compared. "
)
_STEP = "Across: training step, on an axis of log(1 + step) that holds step 0. "
_UNTRAINED = "Step 0, where it is there: the network before training. "
_RANK_AXIS = "rank on an axis of log(1 + rank), with rank 0 on top"
_GREY = (
    "Grey, where there is a control: the same architecture with random weights on the same texts; "
    "what it does, too, needs no training. "
)
_GREY_MODELS = "Grey, where there are any beside others: models of random weights. "
_RANDOM = (
    "The forms beside the cosine are beyond random pairs of tokens: *scaled* is 0 where a pair is "
    "as alike as these are, and 1 where states are equal. "
)
_FIVE = "none under five of them. "
_TEXTS = f"Bands: from a bootstrap over whole texts; {_FIVE}"
_CROSSED = "Bands: over texts crossed with types, the different tokens; none under five of either."
_WORDS = f"Bands: from a bootstrap over words; {_FIVE}"
_CONVERGED = (
    "Over words, from a bootstrap, none under five of them; of replicates over trainings, by "
    "Student's t. Groups of few words are marked. "
)
_ONE_TEXT = "None: it shows one text, and says nothing of others. "
_IDENTITY = "1: the state still points along the token's own embedding; 0: it is orthogonal to it. "
_AUC = (
    "AUC: the probability that two texts of one sense are more alike than two of different senses; "
    "0.5 is chance and 1 a perfect separation. "
)
_NEAR = "Rank 0: no entry of the vocabulary is closer to the state than the token's own embedding. "
_REPLACED = (
    "the same texts with another word in the word's place: what is as high there is of the "
    "sentence, and not of the word. "
)
_FALLEN = "Upwards: share of tokens whose identity has fallen below the threshold, from 0 to 100 %."
_MOST_FALLEN = (
    "High: of most tokens the similarity to the own embedding has been below the threshold, at "
    "that layer or an earlier one. That alone does not say that they are lost. "
)

READINGS = {
    "identity_context": Reading(
        _LAYER + "Upwards: cosine.",
        "A panel for each word. Solid lines: identity, one for each sense (thin: single texts). "
        "Dashed: similarity of the word in two texts, of different senses where there are senses; "
        "dotted: of the same sense. Hollow diamond: after the final norm.",
        _IDENTITY + "Context similarity of 1: the state is the same in both texts.",
        _GREY + "A high context similarity says little where random pairs are as alike: see the "
        "figure baseline.",
        _TEXTS,
    ),
    "summary": Reading(
        _LAYER + "Downwards: a row for each text, or for each sense where there are many texts.",
        "One mark for the half-life, the first layer at which identity is below the threshold; one "
        "for context dominance, the first at which context similarity is below identity: states of "
        "the token in two texts are then less alike than each is to its embedding. A column "
        "of its own is for layers that are never reached. At the right: identity at the last "
        "layer.",
        "Far left: identity falls at once. Far right: late, or never.",
        "Half-lives of whole texts, with a control of random weights, are in the figure half_life.",
        "None: these are single texts. Where there are many, the bar is their range, and no "
        "interval.",
    ),
    "baseline": Reading(
        _LAYER + "Upwards: mean cosine of random pairs; at the right, the share of single "
        "dimensions in it.",
        "Left: two states of different tokens in different texts. Middle: a state and the "
        "embedding of another token. A line for each site. Right: a line for each of the "
        "dimensions with the largest shares, named by its index.",
        "High: any two tokens look alike, and a high similarity of two states of interest says "
        "little. A share near 1: one dimension makes almost all of it.",
        "This is the baseline that *scaled* similarities are beyond.",
        _TEXTS + "Shares are of these texts, without an interval.",
    ),
    "half_life": Reading(
        _LAYER + _FALLEN,
        "A panel for each way of grouping tokens, a line for each group; below, identity beyond "
        "random pairs (scaled).",
        _MOST_FALLEN + "Where a line passes 50 % is the group's median half-life.",
        _GREY,
        _CROSSED,
    ),
    "half_life_thresholds": Reading(
        "Across: threshold, as a similarity. Upwards: median half-life, as a layer.",
        "A panel for each form of similarity, a line for each group of tokens. Dotted rule: the "
        "threshold of the other figures.",
        "Low: the identity of half of the tokens is below the threshold after few layers. A flat "
        "line: the threshold decides little. No point: that of half never is.",
        _GREY,
        _CROSSED,
    ),
    "senses_by_layer": Reading(
        _LAYER + "Upwards: above, similarity; below, the gap (within minus between) and the AUC.",
        "Above, a panel for each form of similarity: texts of one sense (within) and of two "
        "(between). Below, a line for each form. Large dots: a gap above that of permuted senses, "
        "after Holm's correction over layers. Squares: the best layer.",
        "A high gap: texts of one sense are more alike than texts of two. " + _AUC,
        f"Grey, where there is a control: {_REPLACED}Chance is a gap of 0 and an AUC of 0.5.",
        _WORDS + "Below, those of the cosine. The best layer has an interval below the title.",
    ),
    "senses_words": Reading(
        _LAYER + "Downwards: words with their two senses, by their mean over layers, the largest "
        "on top.",
        "Colour of a cell: AUC of the cosine, of one word at one layer.",
        _AUC + "Below 0.5: texts of different senses are the more alike ones.",
        "Chance is 0.5, the pale middle of the colours.",
        "In the interactive page, for each cell: over the word's texts, with p from permuting "
        "senses. With hundreds of cells, some are high by chance.",
    ),
    "similarity_layers": Reading(
        _SITE + "Upwards: cosine of a token's state with its own embedding.",
        "A line for each token of one text, its colour by class of word.",
        _IDENTITY,
        "Random pairs are in the figure baseline.",
        _ONE_TEXT + "Means over texts are in rank_classes.",
    ),
    "rank_layers": Reading(
        _SITE + f"Upwards: {_RANK_AXIS}.",
        "A line for each token of one text, its colour by class of word.",
        _NEAR + "A low line: thousands of entries are closer.",
        "In a direction drawn at random, half of the vocabulary is expected to be closer.",
        _ONE_TEXT + "Medians over texts are in rank_classes.",
    ),
    "rank_heatmap": Reading(
        "Across: tokens of one text, in their order. Upwards: layer, or block where states are "
        "inside the blocks; the axis says which.",
        "Colour of a cell: rank of the token's own embedding. Word in it: the nearest entry of the "
        "vocabulary.",
        _NEAR + "The word in the cell is then the token itself.",
        "In a direction drawn at random, half of the vocabulary is expected to be closer.",
        _ONE_TEXT,
    ),
    "rank_classes": Reading(
        _SITE + f"Upwards: mean cosine with the own embedding, or median {_RANK_AXIS}; below, the "
        "difference of function and content words, of ranks as a factor.",
        "A line for each class of word. Thick: the largest change from one layer to the next. "
        "Dotted rule: where the largest difference is.",
        "Up is closer to the own embedding. A difference of 0, a factor of 1: the classes are "
        "alike.",
        "*Standardised* leaves out single dimensions that make any two tokens alike. Frequency and "
        "position are held equal in matched_groups alone.",
        _CROSSED
        + " Per cent below a title: how many of the bootstrap's draws find the same layer.",
    ),
    "own_token": Reading(
        _LAYER + f"Upwards: {_RANK_AXIS}; or log-probability, entropy and divergence, in nats.",
        "A panel for each measure, as if the model ended at that layer: through its final norm and "
        "its unembedding, or by cosine among the embeddings. A line for all words (with numbers, "
        "punctuation and signs), for function words, for content words and for each lens.",
        "A rank near 0 or a log-probability near 0: the layer says that token. A divergence of 0: "
        "it says what the model says in the end.",
        _GREY,
        _CROSSED,
    ),
    "matched_groups": Reading(
        _LAYER + "Upwards: difference of two groups of words, of ranks as a factor, with "
        "small ones on top.",
        "A block for each comparison, a panel for each measure. Black: all words. In colour: words "
        "with a counterpart of the same frequency and position in the other group.",
        "Up is closer to the own embedding. 0, or a factor of 1: no difference. What the coloured "
        "line no longer shows came from frequency or position, or from words without a "
        "counterpart.",
        "The black line, beside which the coloured one is read. " + _GREY,
        "Bands: over words crossed with texts; none under five of either.",
    ),
    "geometry": Reading(
        _LAYER + "Upwards: the measure in the panel's title; lengths and largest activations on a "
        "logarithmic scale, curvature in degrees.",
        "A line with the first token of each text and one without.",
        "Effective rank: how many directions states fill; IsoScore: 1 where they fill all alike. "
        "Cosine and CKA with the layer before near 1: the block changes little; CKA alone does "
        "not mind a rotation.",
        "The two lines: what only one has is of first tokens, on which attention rests. "
        + _GREY
        + "It is without the first tokens.",
        _TEXTS,
    ),
    "geometry_steps": Reading(
        _STEP + "Upwards: layer of the residual stream.",
        "A map for each measure, without the first token of each text. Every map has a scale of "
        "its own.",
        "As in the figure geometry, which has the reference checkpoint.",
        _UNTRAINED,
        "None in the maps; the table geometry has them.",
    ),
    "corpus": Reading(
        _LAYER + f"Upwards: the measure in the panel's title; {_RANK_AXIS}.",
        "A line for all tokens and for each class of words; in one panel, for each band of "
        "frequency.",
        _IDENTITY + _NEAR + "A cosine with the layer before near 1: the block turns little.",
        "*Scaled* is beyond random pairs. " + _GREY,
        f"Bands: over whole documents, or over pieces where there is one document; {_FIVE}",
    ),
    "splits": Reading(
        _LAYER + "Upwards: above, cosine with the state of the whole word in the same text; below, "
        f"the whole word's {_RANK_AXIS}.",
        "A line for words cut up into entries of the vocabulary, for typos, and for another word's "
        "split in the same place. Second row: what a split has beyond another's.",
        "High: the last token of the split is like the whole word to the model.",
        "Another's split: what it has, too, is of the place. " + _GREY,
        _WORDS,
    ),
    "decodability": Reading(
        _LAYER + "Upwards: left, identity and share decoded, each relative to layer 0; then the "
        "share of tokens decoded.",
        "Left: how far states have turned (identity), and what linear maps still find. Middle and "
        "right: a line for each map, of the token itself and of the one before it.",
        "A low identity with a high share decoded: the state has turned and kept its token. Both "
        "low: the token is lost to a linear map.",
        "Dashed grey: chance, by ridge with targets shuffled among the fitted types, and among the "
        "tested ones. " + _GREY,
        "Bands: from a bootstrap over types of tokens that the maps were not fitted to.",
    ),
    "attention": Reading(
        "In every small map, downwards: tokens that look (queries); across: tokens that are looked "
        "at (keys), of one text.",
        "A row of maps for each block, a column for each head. Colour of a cell: attention weight, "
        "following the square root.",
        "Dark: the query takes most from that key. A dark first column: the head rests on the "
        "first token. A diagonal: tokens look at themselves.",
        "The weights of a query add up to 1; spread evenly, each of n tokens has 1/n.",
        _ONE_TEXT + "Shares over texts are in head_summary.",
    ),
    "head_summary": Reading(
        _BLOCK + "Downwards: head.",
        "A map for each thing that a head may do. Colour: in which share of the cases over all "
        "texts it does, or the mean attention weight.",
        "1: always; 0: never.",
        "Heads of one block are each other's comparison: most of a map is near 0.",
        "None: shares over all texts of the experiment. The table has how many cases there are.",
    ),
    "evolution": Reading(
        "Across: tokens of one text, in their order. Upwards: layer of the residual stream; the "
        "top row is what the model predicts.",
        "In a cell: of all entries of the vocabulary the most probable one through the final norm "
        "and the unembedding, or of the listed ones, which begin a word unless all are asked for, "
        "the one with the nearest embedding. Colour: its probability, or its cosine. Bold: "
        "the model's final answer, already.",
        "A high probability: the layer is sure of that entry.",
        "A column in bold from some layer upwards: what the model says is settled there.",
        _ONE_TEXT,
    ),
    "attribution": Reading(
        _BLOCK + "In the maps downwards: heads, the attention bias and the MLP; below, upwards: "
        "change of identity, and identity.",
        "First map: what a part adds along the token's own embedding. Second map and bars: what it "
        "adds to identity. Dots: the whole change. Lines: identity of each token, thick their "
        "mean.",
        "Above 0: the part turns the stream towards the token's embedding. Below 0: away from it.",
        "All parts add up to the change of identity.",
        _ONE_TEXT + "Means over texts are in attribution_by_layer.",
    ),
    "attribution_by_layer": Reading(
        _BLOCK + "Upwards: change of identity, on a scale that follows the square root; in the map "
        "downwards: head.",
        "A line for the heads together, the attention bias, the MLP, norms, and all parts, which "
        "add up to the change. Map: each head by itself.",
        "Above 0: the part turns the stream towards the token's embedding. Below 0: away from it.",
        _GREY + "All parts of it.",
        _TEXTS,
    ),
    "ablation": Reading(
        _BLOCK + "Upwards: in the first panel change of identity, in the others difference: with "
        "the part at its mean minus as it is; on a scale that follows the square root.",
        "A panel each for what a part contributes to identity, for identity after the block and "
        "after the last one, and for the loss. A line for the MLP, for the head that contributes "
        "most, and for another head.",
        "A difference below 0: identity, or the loss, is lower where the part gives its mean over "
        "other texts. 0: nothing follows from the part.",
        "The other head, drawn at random. " + _GREY,
        _TEXTS,
    ),
    "convergence": Reading(
        _STEP + "Upwards: cosine of a word's state with its state at the reference checkpoint.",
        "A panel for each layer, a line for each number of tokens of a word; thin: the "
        "standardised cosine.",
        "1: the representation is what it becomes. A line that is flat near 1 has settled.",
        _UNTRAINED + "The standardised cosine leaves out what any two words have in common.",
        _CONVERGED,
    ),
    "convergence_aggregate": Reading(
        _STEP + "Upwards: similarity of a word's state with its state at the reference checkpoint.",
        "Above, the mean over layers, a line for each number of tokens; below, all words, a line "
        "for each layer. A panel for each form of similarity.",
        "1: the representation is what it becomes.",
        _UNTRAINED + _RANDOM,
        _CONVERGED,
    ),
    "convergence_slope": Reading(
        _STEP + "Upwards: change of the mean cosine with the reference per doubling of 1 + step.",
        "A line for each number of tokens, over all layers; and for each layer, of all words.",
        "High: states move towards what they become. 0: they do not, or have arrived.",
        "0 is no change.",
        _CONVERGED,
    ),
    "convergence_heatmap": Reading(
        _STEP + "Upwards: layer of the residual stream.",
        "A map for each number of tokens. Colour: mean cosine with the reference checkpoint.",
        "1: the representation is what it becomes. The reference itself is 1.",
        _UNTRAINED,
        "None in the maps; the figure convergence has them.",
    ),
    "alignment": Reading(
        _STEP + "Upwards: similarity of all words' states with those at the reference checkpoint.",
        "A panel for each layer. Lines: mean cosine, CKA, and Procrustes similarity, which is that "
        "after the best rotation, of states without their mean: what all words share is in the "
        "cosine alone, which may be the higher one.",
        "1: the same. A low cosine with high CKA and Procrustes similarity: the space has rotated, "
        "and what words are to each other has stayed.",
        "Dashed grey: Procrustes similarity of words that are matched at random.",
        "Bands: from a jackknife over words; of replicates over trainings, by Student's t.",
    ),
    "perturbation": Reading(
        _LAYER + "Upwards: cosine of a word's last state with the same under a change.",
        "P1: the word in other contexts. P2: the context with other words that end in the same "
        "token. A column for each number of tokens, a line for each checkpoint, the last one "
        "strong. Lowest row: the last one in every form of similarity.",
        "Low P1: the context makes the state. Low P2: the word's earlier tokens make it. Where all "
        "values are near 1, the axis holds little more than these: read its numbers.",
        "Words of one token have no P2: nothing of them stands before the last token. " + _RANDOM,
        "Bands: over words, those of one last token together, and over contexts that they share, "
        "none under five of either; of replicates over trainings.",
    ),
    "perturbation_steps": Reading(
        _STEP + "Upwards: cosine of a word's last state with the same under a change.",
        "Solid, P1: the word in other contexts. Dashed, P2: the context with other words that end "
        "in the same token. A panel for each of at most five layers, a colour for each number of "
        "tokens; below, the mean over layers in every form of similarity.",
        "Low P1: the context makes the state. Low P2: the word's earlier tokens make it. Where all "
        "values are near 1, the axis holds little more than these: read its numbers.",
        _UNTRAINED + _RANDOM,
        "Bands: over words, those of one last token together, and over contexts that they share, "
        "none under five of either; of replicates over trainings.",
    ),
    "training": Reading(
        _STEP + "Upwards: loss, in nats per token.",
        "Faint: of each batch. Strong, with points at the steps that are saved: of text that the "
        "model is not trained on.",
        "Low: the model predicts the next token well. Held-out loss far above that of the batches: "
        "it knows its text by heart.",
        "At step 0 it is about the logarithm of the size of the vocabulary, as of a guess.",
        "None: one training with one seed.",
    ),
    "senses": Reading(
        _DEPTH + "Upwards: cosine, and beside it the same beyond chance (scaled).",
        "A row for each word, or several of many models; two columns for each model. Solid: "
        "identity, one line for each sense. Dashed: similarity of the word in texts of different "
        "senses; dotted: of one sense. Hollow diamond: after the final norm.",
        _IDENTITY + "Dotted above dashed: senses have parted.",
        _RANDOM,
        _TEXTS,
    ),
    "depth": Reading(
        _DEPTH + "Upwards: mean cosine; below, the other forms of similarity.",
        "Left: identity. Right: context similarity. A line for each model. Hollow diamond: after "
        "the final norm.",
        _IDENTITY + "Context similarity of 1: the state does not depend on the text.",
        _RANDOM + _GREY_MODELS,
        f"Bands: from a bootstrap over words with all their texts; {_FIVE}",
    ),
    "half_lives": Reading(
        _DEPTH + _FALLEN,
        "A panel for each group of words, a line for each model; below, identity beyond random "
        "pairs (scaled).",
        _MOST_FALLEN,
        _RANDOM + _GREY_MODELS,
        _CROSSED,
    ),
    "ranks": Reading(
        _DEPTH + f"Upwards: mean cosine with the own embedding, median {_RANK_AXIS}, and the share "
        "of tokens of rank 0.",
        "A column for each model, of many in several rows; a line for each class of words.",
        "Up is closer to the own embedding. " + _NEAR,
        "*Standardised* leaves out single dimensions that make any two tokens alike.",
        _CROSSED,
    ),
    "turned_and_lost": Reading(
        _DEPTH + "Upwards: identity and share decoded, each relative to layer 0.",
        "A panel for each model. Identity says how far states have turned; ridge regression and a "
        "rotation, fitted to other types of tokens, say what can still be decoded.",
        "A low identity with a high share decoded: the state has turned and kept its token. Both "
        "low: the token is lost to a linear map.",
        _GREY,
        "Bands: from a bootstrap over types of tokens.",
    ),
    "identity_parts": Reading(
        _BLOCK + "Upwards: change of identity, on a scale that follows the square root.",
        "A panel for each model. A line for the heads together, the attention bias, the MLP, "
        "norms, and all parts, which add up to the change.",
        "Above 0: the part turns the stream towards the token's embedding. Below 0: away from it.",
        "0 is no change; random weights, where they are a control, are in the figure of each "
        "model.",
        _TEXTS,
    ),
    "separability": Reading(
        _DEPTH + "Upwards: above, the gap (within minus between senses); below, the AUC.",
        "A column for each form of similarity, a line for each model. Squares: the best layers.",
        "A high gap: texts of one sense are more alike than texts of two. " + _AUC,
        f"Thin, where there is a control: {_REPLACED}{_GREY_MODELS}Chance is a gap of 0 and an AUC "
        "of 0.5.",
        _WORDS,
    ),
    "scaling": Reading(
        "Across: parameters without embeddings, on a logarithmic axis. Upwards: the measure in the "
        "panel's title.",
        "A panel for each experiment and measure, a colour for each model, a shape for each form "
        "of similarity. Grey line: least squares over models, with four sizes or more, each at "
        "least a quarter above the one before. Dotted: from a model to its name.",
        "A rising line: larger models have more of it.",
        "Models differ in more than size: family, data and tokenizer. With fewer than four sizes "
        "no trend is fitted, and none of half-lives where a model never reaches one.",
        f"Bars: over texts crossed with types, or over words, of one model; {_FIVE}That of a slope "
        "is over models, and wide with few.",
    ),
    "measure": Reading(
        _LAYER + "Upwards: mean of the measure, in its unit; in panels named so, in standard "
        "deviations of the baseline's tokens.",
        "A row of panels for each way of grouping occurrences, a column for each site, a line for "
        "each group.",
        "What a high value means, the file of the measure says.",
        "0 standard deviations: as the baseline's tokens at the same place.",
        f"Bands: from a bootstrap over texts, or over words where all are together; {_FIVE}",
    ),
    "composite_measure": Reading(
        _DEPTH + "Upwards: mean of the measure over all occurrences, in its unit; in panels named "
        "so, in standard deviations of the baseline's tokens.",
        "A panel for each site, a line for each model.",
        "What a high value means, the file of the measure says.",
        "0 standard deviations: as the baseline's tokens at the same place. " + _GREY_MODELS,
        f"Bands: from a bootstrap over words, or over texts; {_FIVE}",
    ),
}
"""By the name of the caption."""
