"""What the tag, class, id, role and itemprop of an element say about its content: one bit for each kind of hint.

Classes are cut into words ("post-meta", "postMeta" -> post, meta) and each word is looked up, so that "download" is no
"load" and "headline" no "head". The words are English, with those of German, Spanish, French and Italian that sites
use; what a hint is worth is not said here but learned (weights.py).
"""

import functools
import re

# Kinds that speak for content; the others speak against it, if at all.
ARTICLE_TAG, MAIN_TAG, ARTICLE_BODY, ARTICLE_WORD, CONTENT_WORD, TEXT_WORD = (1 << i for i in range(6))
(
    NAV_TAG, HEADER_TAG, FOOTER_TAG, ASIDE_TAG, FORM_TAG, FIGURE_TAG, LIST_TAG, TABLE_TAG, QUOTE_TAG, LINK_TAG,
    NAV, HEADER, FOOTER, SIDEBAR, COMMENT, SHARE, RELATED, ADVERT, OVERLAY, BYLINE, CAPTION, SEARCH, TEASER, TAGS,
) = (1 << i for i in range(6, 30))  # fmt: skip
NUM_HINTS = 30
APART = (
    NAV_TAG | FOOTER_TAG | ASIDE_TAG | FORM_TAG | NAV | FOOTER | SIDEBAR | COMMENT | SHARE | RELATED | ADVERT | OVERLAY
)
"""Hints that something is not part of the text around it."""
FOR_CONTENT = (1 << 6) - 1
NAMES = [
    "article-tag",
    "main-tag",
    "article-body",
    "article-word",
    "content-word",
    "text-word",
    "nav-tag",
    "header-tag",
    "footer-tag",
    "aside-tag",
    "form-tag",
    "figure-tag",
    "list-tag",
    "table-tag",
    "quote-tag",
    "link-tag",
    "nav",
    "header",
    "footer",
    "sidebar",
    "comment",
    "share",
    "related",
    "advert",
    "overlay",
    "byline",
    "caption",
    "search",
    "teaser",
    "tags",
]

DROP, FORMULA, CODE = (1 << i for i in range(30, 33))
"""Not hints but facts, for the walk: the element is never text; it may be a formula, or code in a site's own markup."""

_WORDS = {
    ARTICLE_WORD: "article articles artikel articulo nota story post posts entry hentry blogpost blog news noticia "
    "recipe storybody postcontent entrycontent posting permalink single",
    ARTICLE_BODY: "articlebody articletext articlecontent storytext posttext bodytext bodycopy articlecopy postbody "
    "richtext prose markdown wysiwyg copytext fliesstext cuerpo",
    CONTENT_WORD: "content contents contenido inhalt contenu contenuto main maincontent primary page center centre",
    TEXT_WORD: "text texte texto testo body copy paragraph description absatz",
    NAV: "nav navi navbar navigation navigator subnav topnav mainnav menu menus submenu megamenu hauptmenu breadcrumb "
    "breadcrumbs crumb crumbs brotkrumen pager pagination paging paginator prev previous next toc tabs sitemap "
    "jump skip toolbar languages language lang",
    HEADER: "header head masthead topbar top hdr logo branding brand kopf cabecera site-header",
    FOOTER: "footer foot bottom copyright legal colophon impressum fuss fusszeile pie imprint disclaimer privacy",
    SIDEBAR: "sidebar side aside rail widget widgets secondary complementary marginal marginalspalte spalte right "
    "rightcol leftcol left rechts links col2 infobox box boxes modul",
    COMMENT: "comment comments commentlist commenters commentform disqus respond reply replies kommentar kommentare "
    "comentario comentarios commentaire commentaires commento leserkommentare trackback trackbacks pingback "
    "discussion livefyre",
    SHARE: "share sharing shares shared social socials sharedaddy sharing addtoany addthis facebook twitter whatsapp "
    "pinterest instagram flattr follow following sharebar shariff like likes vote votes rating ratings print email",
    RELATED: "related relatedposts similar recommended recommend recommends recommendation recommendations more mehr "
    "also popular trending most latest recent newest readmore upnext outbrain taboola further weitere "
    "verwandt relacionados relacionadas aehnliche suggested suggestions series next read",
    ADVERT: "ad ads adv advert adverts advertise advertisement advertising adslot adsense dfp sponsor sponsored "
    "sponsors anzeige anzeigen werbung banner promo promos promotion promotions publicidad publicite affiliate shop "
    "deal deals cta",
    OVERLAY: "cookie cookies consent gdpr modal popup popover overlay dialog lightbox paywall subscribe subscription "
    "subscriptions subscriber newsletter signup signin login register registration account abo donate donation "
    "notification alert toast tooltip dropdown hidden hide collapse",
    BYLINE: "byline author authors autor autoren auteur bio meta metadata postmeta postmetadata entrymeta date datum "
    "time timestamp published dateline posted info infos details credits source profile avatar vcard user "
    "username contributor",
    CAPTION: "caption captions figcaption wpcaption gallery galleries image images img photo photos foto picture "
    "pictures bild bilder media video videos figure credit thumb thumbnail thumbnails slideshow slider carousel "
    "player audio podcast",
    SEARCH: "search searchform suche form forms input buscar recherche contact kontakt button buttons btn "
    "feedback poll survey quiz",
    TEASER: "teaser teasers card cards tile tiles list listing archive grid feed excerpt preview item items summary",
    TAGS: "tag tags tagcloud taglist category categories cat cats kategorie kategorien categoria topics topic "
    "keywords label labels schlagworte",
}
# A class with one of these words may state a fact; the patterns below, which cost more, say which.
_CHECK = 1 << 40
_WORDS[_CHECK] = (
    "sr screen visually visuallyhidden headerlink header anchor anchorjs mw noprint copybtn copy clipboard line skip "
    "toc code in jp input output prompt hash heading katex mathjax mjx mjpage mwe ztext math tex latex fragment "
    "syntaxhighlighter dp codemirror crayon ace view bbcode codecontent blob"
)
_BITS: dict[str, int] = {}
for _bit, _list in _WORDS.items():
    for _word in _list.split():
        _BITS[_word] = _BITS.get(_word, 0) | _bit
TAG_HINTS = {
    "article": ARTICLE_TAG, "main": MAIN_TAG, "nav": NAV_TAG, "menu": NAV_TAG, "header": HEADER_TAG,
    "footer": FOOTER_TAG, "aside": ASIDE_TAG, "form": FORM_TAG, "fieldset": FORM_TAG, "figure": FIGURE_TAG,
    "figcaption": FIGURE_TAG, "ul": LIST_TAG, "ol": LIST_TAG, "td": TABLE_TAG, "th": TABLE_TAG,
    "blockquote": QUOTE_TAG, "dialog": OVERLAY,
}  # fmt: skip
"""Of an element without attributes."""
_ROLES = {
    "main": MAIN_TAG, "article": ARTICLE_TAG, "navigation": NAV_TAG, "menu": NAV_TAG, "menubar": NAV_TAG,
    "banner": HEADER_TAG, "contentinfo": FOOTER_TAG, "complementary": ASIDE_TAG, "search": SEARCH, "form": FORM_TAG,
    "dialog": OVERLAY, "alertdialog": OVERLAY, "alert": OVERLAY, "tablist": NAV_TAG,
}  # fmt: skip
_ITEMPROPS = {"articleBody": ARTICLE_BODY, "text": ARTICLE_BODY, "description": TEXT_WORD}
_DROPPED = re.compile(
    r"(?i)(^|[\s_-])(sr-only|visually-?hidden|screen-reader-text|headerlink|header-anchor|anchor-link|anchorjs-link|"
    r"mw-editsection|mw-jump-link|noprint|copybtn|copy-button|clipboard-copy|btn-clipboard|line-numbers-rows|"
    r"MathJax_Preview|MJX_Assistive_MathML_none|hash-link|heading-anchor|skip-link|toc-backref|code-toolbar-item|"
    r"In_Prompt|jp-InputPrompt|jp-OutputPrompt|input_prompt|output_prompt)($|\s)"
)
_FORMULA = re.compile(
    r"(?i)(^|[\s_-])(katex|mathjax|mathjax_display|mjx-chtml|mjpage|mwe-math-element|ztext-math|math|tex|latex)"
)
_CODE = re.compile(
    r"(?i)(^|\s)(fragment|syntaxhighlighter|dp-highlighter|codemirror-code|crayon-pre|code-lines|ace_text-layer|"
    r"view-lines|bbcode_code|codecontent|blob-code-content)($|\s)"
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


@functools.lru_cache(maxsize=16_384)
def word_hints(text: str) -> int:
    """The hints of the words in a class or an id, and the facts that follow from it."""
    bits = 0
    for word in _WORD.findall(text):
        bits |= _BITS.get(word.lower(), 0)
    if bits & _CHECK:
        bits ^= _CHECK
        for fact, pattern in ((DROP, _DROPPED), (FORMULA, _FORMULA), (CODE, _CODE)):
            if pattern.search(text):
                bits |= fact
    return bits


def element_hints(tag: str, attributes: list[tuple[str, str]]) -> int:
    """The hints of an element by its tag and attributes."""
    bits = TAG_HINTS.get(tag, 0)
    for name, value in attributes:
        if name == "class" or name == "id":
            bits |= word_hints(value)
        elif name == "role":
            bits |= _ROLES.get(value, 0)
        elif name == "itemprop":
            bits |= _ITEMPROPS.get(value, 0)
        elif name == "hidden" or (name == "style" and _hides(value)) or (name == "aria-hidden" and value == "true"):
            bits |= DROP
    return bits


@functools.lru_cache(maxsize=4096)
def _hides(style: str) -> bool:
    return re.search(r"(?i)display\s*:\s*none|visibility\s*:\s*hidden", style) is not None
