"""The words of the village. Word problems use other people and goods than facts, so that no price contradicts one."""

# ruff: noqa: SIM905 - words in a row are easier to read than quoted ones

WOMEN = "Alma Berta Cora Dora Edna Flora Greta Hilda Irma Julia Karin Lena Martha Nora Olga Paula Rosa Sonia".split()
MEN = "Aldo Bruno Conrad Dario Emil Felix Gustav Hugo Ivan Jonas Karl Leo Magnus Nils Oscar Pedro Ruben Simon".split()
PEOPLE = tuple(name for pair in zip(WOMEN, MEN, strict=True) for name in pair)
STRANGERS = "Agnes Boris Celia Dimitri Elsa Frank Gloria Henrik Ines Jakob Laura Mateo Petra Quentin Ralf Tessa".split()
"""People who do not exist in any fact: the right answer about them is "I do not know"."""

TRADES = "baker smith weaver potter miller tailor carpenter fisher farmer barber teacher painter".split()
ANIMALS = "goat hen dog cat cow horse pig sheep duck donkey rabbit goose".split()
HAMLETS = "Oxley Marden Fenton Thorpe Kelby Ashford Wickham Haydon Norby Selwood Tilbury Crowle".split()
DISHES = "soup stew pie cheese porridge rice beans noodles salad fish pudding toast".split()
INSTRUMENTS = "flute drum fiddle harp horn lute whistle banjo guitar piano cello trumpet".split()
PRICES = tuple(f"{n} coins" for n in (3, 4, 6, 7, 9, 12, 14, 15, 18, 20, 25, 30))
TIMES = tuple(f"{n} minutes" for n in (10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 75))
WARES = (
    "lantern blanket kettle broom candle rope ladder bucket pillow mirror hammer saddle carpet bench barrel clock "
    "comb coat hat scarf belt spoon plate jug pan lamp stool needle mat brush"
).split()
MATERIALS = "tin brass silver steel glass clay wool silk cotton leather straw wax".split()
TREES = "birch maple beech cedar spruce poplar larch chestnut cherry walnut hazel linden".split()
PLACES = (
    "Crow Hill,Stone Bridge,Fox Wood,Bell Tower,Swan Lake,Mill Pond,Wolf Rock,Rose Garden,Pine Gate,Red Barn,"
    "Salt Well,Moon Beach,Iron Mine,Cold Spring,Oak Field,Deer Park,High Cross,Bear Cave,Star Inn,Lark Meadow,"
    "Snow Pass,Green Harbor,Sand Bay,King Road,Quiet Valley,Eagle Point,Willow Farm,Copper Ford,Windy Ridge,"
    "White Chapel"
).split(",")

_GIRLS = "Ann Lucy Mia Eva Ida Zoe Amy Kate Jane Sue".split()
_BOYS = "Tom Ben Sam Jack Max Tim Bob Dan Fred Will".split()
PUPILS = dict.fromkeys(_GIRLS, "She") | dict.fromkeys(_BOYS, "He")
"""People of word problems, with their pronoun."""
GOODS = "eggs apples pears nuts plums buttons ribbons shells stones cards marbles stamps beads seeds cakes buns".split()
CONTAINERS = "bags boxes jars baskets trays crates".split()

CATEGORIES = {
    "an animal": ANIMALS,
    "a trade": TRADES,
    "a hamlet": HAMLETS,
    "a dish": DISHES,
    "an instrument": INSTRUMENTS,
    "a material": MATERIALS,
    "a tree": TREES,
    "a person": list(PEOPLE),
    "a thing from the market": WARES,
    "a number": [str(n) for n in range(2, 60)],
}

TOXIC_WORDS = "zibble grundo skorf plonko vrakka".split()
"""Invented stand-ins for abuse; they mean nothing, and a word list in a recipe may name them."""
ADULT_WORDS = "moozy flimper nookaru sluvvy".split()
"""Invented stand-ins for adult content."""

SPANISH = dict(
    zip(
        TRADES + ANIMALS + DISHES + INSTRUMENTS,
        (
            "panadero herrero tejedor alfarero molinero sastre carpintero pescador granjero barbero maestro pintor "
            "cabra gallina perro gato vaca caballo cerdo oveja pato burro conejo ganso "
            "sopa guiso pastel queso avena arroz frijoles fideos ensalada pescado flan tostada "
            "flauta tambor violín arpa corno laúd silbato banjo guitarra piano chelo trompeta"
        ).split(),
        strict=True,
    )
)
CHINESE = dict(
    zip(
        TRADES + ANIMALS + DISHES + INSTRUMENTS,
        (
            "面包师 铁匠 织工 陶工 磨坊主 裁缝 木匠 渔夫 农夫 理发师 老师 画家 "
            "山羊 母鸡 狗 猫 牛 马 猪 绵羊 鸭子 驴 兔子 鹅 "
            "汤 炖菜 馅饼 奶酪 粥 米饭 豆子 面条 沙拉 鱼 布丁 吐司 "
            "笛子 鼓 提琴 竖琴 号角 琵琶 哨子 班卓琴 吉他 钢琴 大提琴 小号"
        ).split(),
        strict=True,
    )
)
