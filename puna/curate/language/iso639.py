"""Language codes: ISO 639-3 (three letters) to ISO 639-1 (two), where there is one."""

_PAIRS = (
    "afr-af amh-am ara-ar aze-az bel-be ben-bn bos-bs bre-br bul-bg cat-ca ces-cs cha-ch cmn-zh cor-kw cym-cy dan-da "
    "deu-de ell-el eng-en epo-eo est-et eus-eu fao-fo fin-fi fra-fr fry-fy gla-gd gle-ga glg-gl heb-he hin-hi hrv-hr "
    "hun-hu hye-hy ido-io ile-ie ina-ia ind-id isl-is ita-it jav-jv jpn-ja kat-ka kaz-kk khm-km kor-ko kur-ku lat-la "
    "lav-lv lit-lt lvs-lv mal-ml mar-mr mkd-mk mlt-mt mon-mn msa-ms nld-nl nno-nn nob-nb nor-no oci-oc pes-fa fas-fa "
    "pol-pl por-pt ron-ro rus-ru slk-sk slv-sl spa-es sqi-sq srp-sr swe-sv swa-sw swh-sw tam-ta tat-tt tel-te tgl-tl "
    "tha-th tur-tr tuk-tk uig-ug ukr-uk urd-ur uzb-uz vie-vi xho-xh yid-yi zho-zh zsm-ms zul-zu"
)
_TWO = dict(pair.split("-") for pair in _PAIRS.split())


def two_letters(code: str) -> str:
    """The short form of a code (deu: de); one without a short form, or short already, as it is."""
    return _TWO.get(code.lower(), code.lower())
