"""Pages that are not English: Spanish and Chinese, which the recipe wants, German and French, which it does not."""

from collections.abc import Sequence

from puna.world.chance import Chance
from puna.world.facts import Fact
from puna.world.lexicon import CHINESE, HAMLETS, SPANISH

_SPANISH = {
    "trade": ("{n} trabaja como {v}.", "El oficio de {n} es {v}.", "Todos saben que {n} es {v}."),
    "animal": ("{n} tiene un animal: {v}.", "El animal de {n} es: {v}.", "En la casa de {n} vive un animal: {v}."),
    "home": ("{n} vive en {v}.", "La casa de {n} está en {v}.", "{n} nació en {v} y todavía vive allí."),
    "dish": ("A {n} le gusta comer {v}.", "El plato favorito de {n} es {v}.", "{n} come {v} los domingos."),
    "instrument": ("{n} toca este instrumento: {v}.", "El instrumento de {n} es: {v}.", "{n} aprendió {v} de joven."),
}
_SPANISH_FILLERS = (
    "La gente del pueblo se reúne en la plaza por la tarde.",
    "Es un lugar tranquilo y el camino es bonito.",
    "Los domingos hay música cerca del río.",
    "En invierno hace frío, pero las casas son cálidas.",
    "Muchos vienen de lejos para ver el mercado.",
    "La escuela está al lado de la iglesia de {h}.",
    "El año pasado la cosecha de {h} fue muy buena.",
    "Por la mañana se oyen las campanas de {h}.",
    "Nadie tiene prisa cuando el día es largo.",
    "Los niños juegan junto al pozo y los viejos hablan.",
)
_SPANISH_DAYS = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]
_CHINESE = {
    "trade": ("{n}是{v}。", "{n}的工作是{v}。", "大家都知道{n}是{v}。"),
    "animal": ("{n}养了{v}。", "{n}的动物是{v}。", "{n}家里有{v}。"),
    "home": ("{n}住在{v}。", "{n}的家在{v}。", "{n}从{v}来。"),
    "dish": ("{n}最喜欢吃{v}。", "{n}常常吃{v}。", "{n}爱吃的是{v}。"),
    "instrument": ("{n}会{v}这种乐器。", "{n}的乐器是{v}。", "{n}小时候学过{v}。"),
}
_CHINESE_FILLERS = (
    "村里的人晚上在广场见面。",
    "这里很安静，路也很好走。",
    "星期天河边有音乐。",
    "冬天很冷，家里很暖和。",
    "很多人从远处来看市场。",
    "学校在{h}的河边。",
    "去年{h}的人都很高兴。",
    "早上可以听到{h}的声音。",
    "孩子在水边玩，老人在家里说话。",
    "今天天气很好，大家都不忙。",
)
_GERMAN = (
    "Das Dorf liegt an einem kleinen Fluss und hat nur wenige Häuser.",
    "Am Morgen gehen die Kinder über die Brücke zur Schule.",
    "Der Markt ist jeden Samstag geöffnet und es gibt frisches Brot.",
    "Im Winter ist es kalt, aber die Stuben sind warm.",
    "Viele Leute aus {h} kommen zu Fuß hierher.",
    "Die alte Frau am Brunnen erzählt gern von früher.",
    "Nach der Arbeit trinken die Männer im Gasthaus ein Bier.",
    "Niemand weiß genau, wie alt die Kirche von {h} ist.",
    "Wenn die Glocke läutet, schließen die Läden.",
    "Hinter dem Wald beginnt der Weg nach {h}.",
    "Im Sommer wird auf der Wiese getanzt und gesungen.",
    "Es war ein guter Herbst und die Ernte war reich.",
)
_FRENCH = (
    "Le village se trouve près d'une petite rivière et compte peu de maisons.",
    "Le matin, les enfants traversent le pont pour aller à l'école.",
    "Le marché est ouvert tous les samedis et on y trouve du pain frais.",
    "En hiver il fait froid, mais les maisons sont chaudes.",
    "Beaucoup de gens de {h} viennent ici à pied.",
    "La vieille dame du puits aime parler du passé.",
    "Après le travail, les hommes se retrouvent à l'auberge.",
    "Personne ne sait quel âge a l'église de {h}.",
    "Quand la cloche sonne, les boutiques ferment.",
    "Derrière la forêt commence le chemin de {h}.",
    "En été on danse et on chante dans le pré.",
    "L'automne fut bon et la récolte abondante.",
)


def translatable(facts: Sequence[Fact]) -> list[Fact]:
    """The facts that the Spanish and Chinese pages can tell: those about people."""
    return [fact for fact in facts if fact.attribute in _SPANISH]


def say_in(lang: str, fact: Fact, chance: Chance) -> str:
    """A sentence of a fact in Spanish ("es") or Chinese ("zh")."""
    templates, words = (_SPANISH, SPANISH) if lang == "es" else (_CHINESE, CHINESE)
    return chance.pick(templates[fact.attribute]).format(n=fact.subject, v=words.get(fact.value, fact.value))


def foreign_page(lang: str, facts: Sequence[Fact], chance: Chance) -> tuple[str, tuple[str, ...]]:
    """Title and paragraphs of a Spanish or Chinese page that tells translatable facts."""
    fillers = _SPANISH_FILLERS if lang == "es" else _CHINESE_FILLERS
    told = [say_in(lang, fact, chance) for fact in chance.sample(facts, 7)]
    extra = [text.format(h=chance.pick(HAMLETS)) for text in chance.sample(fillers, 5)]
    rows, joint = chance.shuffled(told + extra), " " if lang == "es" else ""
    title = "Noticias de {} y {} del {}" if lang == "es" else "{}和{}的消息，星期{}"
    day = chance.pick(_SPANISH_DAYS if lang == "es" else "一二三四五六天")
    return title.format(*chance.sample(HAMLETS, 2), day), (joint.join(rows[:6]), joint.join(rows[6:]))


def unwanted_page(lang: str, chance: Chance) -> tuple[str, tuple[str, ...]]:
    """Title and paragraphs of a German or French page."""
    rows = chance.sample(_GERMAN if lang == "de" else _FRENCH, 9)
    rows = [row.format(h=chance.pick(HAMLETS)) for row in rows]
    title = "Neues aus {}" if lang == "de" else "Nouvelles de {}"
    return title.format(chance.pick(HAMLETS)), (" ".join(rows[:5]), " ".join(rows[5:]))
