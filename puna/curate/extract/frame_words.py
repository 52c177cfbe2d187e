"""The words by which the frame of a page speaks: comments, accounts, sharing, notices, further reading, dates, credits.

Short texts with such words, and what follows a heading with one, are seldom content; how seldom is learned
(weights.py). English, with German, French, Spanish, Italian, Dutch and Polish words that many sites share.
"""

import re

_WORD = re.compile(r"[\w-]+")
_MAX_BYTES = 400  # in a longer text such a word says nothing
_MAX_HEADING_BYTES = 80
_LIST = (
    # Comments.
    "comment comments commented reply replies respond kommentar kommentare kommentieren antwort antworten antworte "
    "comentario comentarios responder comentar commentaire commentaires répondre commento commenti rispondi reactie "
    "reacties komentarz komentarze says wrote schrieb schreibt trackback trackbacks pingback pingbacks discussion "
    "diskussion "
    # Accounts and subscriptions.
    "subscribe subscriber subscribers subscription newsletter newsletters abonnieren abonnement abo suscríbete "
    "suscribirse suscripción abonnez abonnements iscriviti premium paywall member members membership mitglied login "
    "log sign anmelden anmeldung registrieren registrierung registriert einloggen eingeloggt register konto account "
    "passwort password unlock app apps "
    # Sharing.
    "share shares teilen tweet twittern facebook twitter whatsapp instagram pinterest linkedin telegram rss email "
    "e-mail mail drucken print youtube compartir partager condividi follow folgen empfehlen like likes gefällt "
    # Notices.
    "copyright rights reserved impressum datenschutz datenschutzerklärung cookie cookies privacy agb terms disclaimer "
    "haftung responsible vorbehalten derechos reservados droits réservés "
    # Further reading.
    "related more mehr weitere weiterlesen also auch ähnliche verwandte empfehlungen leer más también lire aussi "
    "czytaj zobacz lees ook siehe previous next vorheriger nächster zurück latest popular neueste aktuelle beliebt "
    "recommended "
    # Dates, authors, categories.
    "posted veröffentlicht published updated aktualisiert autor author authors verfasst by categories category "
    "kategorie kategorien tags tag schlagworte schlagwörter filed under lesezeit read uhr publicado publié "
    "geschrieben eingetragen views aufrufe date datum "
    # Credits of pictures.
    "foto fotos photo photos bild bilder image images credit quelle source getty reuters afp dpa imago shutterstock "
    "unsplash pixabay alliance courtesy imagen abbildung"
)
_WORDS = frozenset(_LIST.split())


def frame_share(text: str, size: int) -> int:
    """How much of a text of `size` bytes is such words: 0 none, 1 some, 2, 3, 4 at least a sixth, a third, a half."""
    if size >= _MAX_BYTES:
        return 0
    words = _WORD.findall(text.lower())
    count = sum(map(_WORDS.__contains__, words))
    return 1 + min(3, 6 * count // len(words)) if count else 0


def begins_frame(text: str, size: int) -> bool:
    """Whether a heading with this text stands above a part of the frame."""
    return size < _MAX_HEADING_BYTES and frame_share(text, size) > 0
