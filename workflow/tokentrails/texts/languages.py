"""Languages by their codes, and those that there is a list of frequent words of."""

_WITH_LIST = """
    ar bg bn ca cs da de el en es fa fi fil fr he hi hu id is it ja ko lt lv mk ms nb nl pl pt ro ru
    sh sk sl sv ta tr uk ur vi zh
"""

_OTHER_CODES = "no tl bs hr"
"""Which wordfreq takes for `nb`, `fil` and `sh`, whose list is in Latin letters: without `sr`."""

WITH_LIST = tuple(sorted(f"{_WITH_LIST} {_OTHER_CODES}".split()))
"""Those of the package wordfreq, which is not asked, since planning has to be quick."""

_ISO_639_1 = """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
    de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
    ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
    lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
    pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th
    ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""

LANGUAGES = tuple(sorted({*_ISO_639_1.split(), *WITH_LIST}))
"""The two-letter codes of ISO 639-1, and what wordfreq has beside them."""
